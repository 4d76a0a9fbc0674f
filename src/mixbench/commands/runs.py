"""`mixbench runs`: the runs that exist, filtered, sorted, as a table."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from mixbench.errors import ConfigError, MixbenchError
from mixbench.machine.output import printable
from mixbench.record.run import SavedRun, left_out
from mixbench.record.write import delete
from mixbench.schema.train import GROUPS
from mixbench.summarize.frame import NAMES, OPTIONS, OWN, column, frame, query, varying
from mixbench.summarize.settings import told

NUMBERS = ("seed", "state", "epoch", "test_acc", "gap_weighted", "gap_clean", "train_seconds")
FORMATS = ("text", "csv", "md", "json")
MOST_VALUES = 12  # that are listed where no run fits
EPILOG = """examples:
  mixbench runs                                       all runs below outputs/
  mixbench runs dataset=cifar100 opt.rho>=0.1         by any key of the config (quote > and < in the shell)
  mixbench runs state=failed --columns id,error,dir   why runs failed, and where they lie
  mixbench runs --sort test_acc --descending          the best test accuracy first
  mixbench runs --verify state=finished               compare every file with its checksum
  mixbench runs --format csv --columns all            everything, for other programs
  mixbench runs state=failed --delete                 delete these runs' directories, after asking
"""


def main(argv: list[str]) -> int:
    """The exit status of `mixbench runs ARGV`, 1 where --verify finds damage. Raises ConfigError for a mistake."""
    arguments = parser().parse_args(argv)
    keys = arguments.columns.split(",")
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise ConfigError(f"--columns {arguments.columns}: {twice[0]} is there twice.")
    folders = list[str]()
    runs = frame(Path(arguments.output_dir), arguments.select, folders)
    tell_left_out(folders, runs)
    if runs.empty:
        print(f"no runs below {arguments.output_dir}; `mixbench train` makes one.")
        return 0
    everything, runs = runs, query(runs, arguments.conditions)
    if runs.empty:
        _tell_values(everything, arguments.conditions)
    if arguments.verify:
        return _verify(runs)
    if arguments.delete:
        return _delete(runs, arguments)
    if arguments.sort:
        column(runs, arguments.sort)
        runs = runs.sort_values(arguments.sort, ascending=not arguments.descending, kind="stable")
    if arguments.columns != "all":
        runs = _chosen(runs, arguments.columns)
    _print(runs, arguments.format)
    return 0


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    found = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="mixbench runs",
        description="List the runs that exist, as a table.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument(
        "conditions", nargs="*", metavar="QUERY", help="KEY=VALUE, also with != > < >= <=; all must hold"
    )
    found.add_argument(
        "--output-dir", default="outputs", metavar="FOLDER", help="folder of the runs (default: outputs)"
    )
    found.add_argument(
        "--select",
        default="last",
        choices=("last", "best_test", "best_val", "max"),
        help="which epoch's metrics are shown (default: last)",
    )
    found.add_argument("--sort", default="", metavar="KEY", help="sort by a column, the smallest first")
    found.add_argument("--descending", action="store_true", help="the largest first")
    found.add_argument("--columns", default="", metavar="A,B,...", help="the columns to show, or all")
    found.add_argument("--format", default="text", choices=FORMATS)
    found.add_argument(
        "--verify", action="store_true", help="compare rows, config and weights with their checksums instead"
    )
    found.add_argument(
        "--delete", action="store_true", help="delete the directories of these runs instead; asks first"
    )
    found.add_argument("--yes", action="store_true", help="with --delete: do not ask")
    return found


def tell_left_out(folders: list[str], runs: pd.DataFrame) -> None:
    """Say on standard error which of the folders and of the `runs` of a frame could not be read."""
    unreadable = [] if runs.empty else runs[runs["state"] == "unreadable"].to_dict("records")
    records = [run["error"] for run in unreadable]
    if words := left_out(folders, records):
        print(printable(words), file=sys.stderr)


def _verify(runs: pd.DataFrame) -> int:
    lines = [line for directory in runs["dir"] for line in SavedRun(Path(directory)).damages()]
    print(printable("\n".join(lines)), end="\n" * bool(lines))
    print(f"{len(runs)} runs, {len(lines)} damaged files")
    return 1 if lines else 0


def _delete(runs: pd.DataFrame, arguments: argparse.Namespace) -> int:
    """Delete what was asked for, but no run that a process works on; the exit status is 1 where one is left."""
    if not arguments.conditions:
        raise ConfigError("--delete: of which runs? Give a QUERY, such as state=failed or id=1d015879e4d3.")
    places = [Path(directory) for directory in runs["dir"]]
    _print(_chosen(runs, ""), "text")
    if not places:
        return 0
    if not arguments.yes:
        if not sys.stdin.isatty():
            raise ConfigError("--delete: asks before it deletes, and nobody can answer here; add --yes.")
        if input("Delete their directories, with all that is in them? [y/N] ").strip().lower() not in (
            "y",
            "yes",
        ):
            print("nothing deleted")
            return 0
    left = 0
    for place in places:
        try:
            delete(place)
        except MixbenchError as error:
            left += 1
            print(printable(f"not deleted: {error}"), file=sys.stderr)
    print(f"{len(places) - left} deleted")
    return 1 if left else 0


def _tell_values(runs: pd.DataFrame, conditions: Sequence[str]) -> None:
    """What there is of the keys that were asked for, where no run fits."""
    for key in dict.fromkeys(re.split("[!=<>]", condition)[0] for condition in conditions):
        columns = [key, f"{key}.name"] if key in OPTIONS else [key]
        values = sorted({told(value) for found in columns if found in runs for value in runs[found].dropna()})
        more = f" and {len(values) - MOST_VALUES} more" if len(values) > MOST_VALUES else ""
        print(printable(f"{key}: there are {', '.join(values[:MOST_VALUES])}{more}"), file=sys.stderr)


def _chosen(runs: pd.DataFrame, columns: str) -> pd.DataFrame:
    if not columns:
        return runs[[key for key in (*NAMES, *varying(runs), *NUMBERS) if key in runs]]
    keys = columns.split(",")
    for key in keys:
        column(runs, key)
    return runs[keys]


def _print(runs: pd.DataFrame, form: str) -> None:
    if form == "csv":
        print(printable(runs.to_csv(index=False)), end="")
    elif form == "json":
        # The rest is escaped already.
        print(runs.to_json(orient="records", indent=1).replace("\x7f", "\\u007f"))
    elif form == "md":
        cells = [
            [str(k) for k in runs.columns],
            ["---"] * len(runs.columns),
            *_texts(runs).to_numpy().tolist(),
        ]
        print(printable("\n".join(f"| {' | '.join(row)} |" for row in cells)))
    else:
        if len(runs):
            print(printable("\n".join(_aligned(_texts(runs)))))
        print(f"{len(runs)} run{'' if len(runs) == 1 else 's'}")


def _texts(runs: pd.DataFrame) -> pd.DataFrame:
    """Every cell in words, for a reader."""
    return pd.DataFrame({key: [_text(key, value) for value in runs[key]] for key in map(str, runs.columns)})


def _aligned(texts: pd.DataFrame) -> Iterator[str]:
    """Columns of numbers to the right, of words to the left."""
    columns = []
    for key in texts:
        width = max(map(len, [key, *texts[key]]))
        numbers = all(re.fullmatch(r"-|-?[\d.]+(e[-+]\d+)?", cell) for cell in texts[key])
        columns.append([f"{cell:{'>' if numbers else '<'}{width}}" for cell in (key, *texts[key])])
    for row in zip(*columns, strict=True):
        yield "  ".join(row).rstrip()


def _text(key: str, value: object) -> str:
    if value is None or value != value:
        return "-"
    # A whole number, also where a run has none and pandas makes it a float; values of options as they are given.
    if key in ("epoch", *OWN) or key.partition(".")[0] in GROUPS:
        said = told(value)
    elif isinstance(value, float):
        said = f"{round(value, 2) + 0.0:.2f}" if re.search("acc|top5|gap", key) else _short(value)
    else:
        said = str(value)
    return re.sub(r"\s", " ", said)


def _short(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.4g}"
