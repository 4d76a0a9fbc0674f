"""`mixbench table KEY`: a published table beside ours; trains what is missing only when told to."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mixbench.commands import study_table
from mixbench.config.overrides import of_hydra
from mixbench.errors import ConfigError
from mixbench.files import write_atomic
from mixbench.machine.output import printable
from mixbench.papers.cells import Planned, plan
from mixbench.papers.execute import dry_run, train
from mixbench.papers.library import check, file_of, kind_of, load
from mixbench.papers.parse import SELECTIONS
from mixbench.papers.spec import Spec, Table
from mixbench.sweep.room import check_jobs

if TYPE_CHECKING:
    from mixbench.papers.table import Result

FORMATS = ("text", "md", "csv", "latex", "html")
EPILOG = """examples:
  mixbench tables                                   all tables and figures, and how far each is
  mixbench table li2023/table2                      the paper's numbers beside what has been run
  mixbench table li2023/table2 --dry-run            every run: its directory, its state, the time left
  mixbench table li2023/table2 --run --cols "CIFAR-100, WRN-16-4" --set precision=auto
  mixbench table li2023/table2 --run --budget 0.02 --seeds 1 --set dataset.train_size=5000

A table shows exactly the runs that its options describe: give the same options to look at it later. Cells that
are not at the scale of the spec are marked with *. A table that comes from a study (tabular data, graphs) computes what
is missing with --run as well; --set NAME=VALUE then changes a parameter of the study.
"""


def main(argv: list[str]) -> int:
    """The exit status of `mixbench table ARGV`: 1 where --run leaves a run unfinished."""
    arguments = parser().parse_args(argv)
    check(arguments.key, "table", study_table.tables)
    if kind_of(file_of(arguments.key)) == "study":
        return _of_study(arguments)
    spec = load(arguments.key)
    if not isinstance(spec, Table):
        raise ConfigError(f"{arguments.key}: is a figure; use mixbench figure {arguments.key}.")
    planned = planned_runs(spec, arguments)
    if arguments.dry_run:
        print(printable(dry_run(spec, planned)))
        return 0
    status = 0
    if arguments.run:
        if not agreed(planned, arguments):
            return 1
        status = 0 if train(spec, planned, arguments.jobs, hydra_overrides(arguments)) else 1
        planned = planned_runs(spec, arguments)
    from mixbench.papers import table

    _give(table.assemble(spec, planned, arguments.select, arguments.protocol), arguments)
    return status


def _of_study(arguments: argparse.Namespace) -> int:
    study = study_table.planned(arguments)
    if arguments.dry_run:
        print(printable(study_table.listed(study, arguments)))
        return 0
    result, status = study_table.filled(study, arguments)
    _give(result, arguments)
    return status


def _give(result: Result, arguments: argparse.Namespace) -> None:
    """Print the table, or write it to a file, in the format that was asked for."""
    from mixbench.papers import render

    content = render.FORMATS[arguments.format](result)
    if arguments.out:
        write_atomic(Path(arguments.out), content.encode())
        print(f"written: {arguments.out}")
    else:
        print(printable(content), end="")


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    found = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="mixbench table",
        description="Print a published table beside ours.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("key", metavar="KEY", help="such as li2023/table2, or a .yaml file of your own")
    add_run_options(found)
    found.add_argument(
        "--select", choices=SELECTIONS, help="the epoch that metrics are taken from (default: the spec's)"
    )
    found.add_argument("--format", default="text", choices=FORMATS)
    found.add_argument("--out", metavar="FILE", help="write to a file instead of the terminal")
    return found


def add_run_options(found: argparse.ArgumentParser) -> None:
    """The options that tables and figures share: which runs, and how to train them."""
    found.add_argument("--run", action="store_true", help="train what is missing first")
    found.add_argument("--yes", action="store_true", help="with --run: do not ask before what takes hours")
    found.add_argument("--output-dir", metavar="FOLDER", help="folder of the runs (default: outputs)")
    found.add_argument(
        "--dry-run", action="store_true", help="list every run with its state, and the time left"
    )
    found.add_argument("--protocol", metavar="NAME", help="a protocol of the spec, such as paper or fair")
    found.add_argument("--seeds", type=int, metavar="N", help="seeds 0 to N-1 (default: the spec's number)")
    length = found.add_mutually_exclusive_group()
    length.add_argument(
        "--budget", type=float, metavar="FRACTION", help="this share of the epochs, at least one"
    )
    length.add_argument("--epochs", type=int, metavar="N", help="this many epochs")
    found.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="OVERRIDE",
        help="KEY=VALUE for every run, or hydra.launcher.KEY=VALUE for --launcher; may be repeated",
    )
    found.add_argument("--rows", nargs="+", default=[], metavar="NAME", help="only these methods")
    found.add_argument("--cols", nargs="+", default=[], metavar="NAME", help="only these columns")
    found.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="runs side by side (default: 1 on a CPU; what fits on a GPU under MPS, up to 4)",
    )
    found.add_argument(
        "--launcher", metavar="NAME", help="train through this Hydra launcher, such as submitit_slurm"
    )


def agreed(planned: Sequence[Planned], arguments: argparse.Namespace) -> bool:
    """Whether to train: how long a processor takes is said first, and over an hour is asked for at a terminal."""
    configs = [run.config for run in planned if run.config is not None and run.state != "finished"]
    if not configs or arguments.launcher or configs[0].device not in ("auto", "cpu"):
        return True
    from mixbench.machine.devices import resolve_device

    if resolve_device(configs[0].device)[0].type != "cpu":
        return True
    from mixbench.bench.estimate import HOUR, TIMED_SECONDS, advice, seconds_by_column

    print(
        "how long will it take? Two steps of each kind of run are timed, until"
        f" {TIMED_SECONDS:.0f} seconds are over",
        flush=True,
    )
    columns, guessed = seconds_by_column(planned)
    print(printable(advice(columns, max(config.epochs for config in configs), guessed)), flush=True)
    if sum(columns.values()) <= HOUR or arguments.yes or not sys.stdin.isatty():
        return True
    return input("Train them? [y/N] ").strip().lower() in ("y", "yes")


def planned_runs(spec: Spec, arguments: argparse.Namespace) -> list[Planned]:
    """The runs that the command line asks for. Raises ConfigError for a value that is not allowed."""
    check_jobs(arguments.jobs)
    place = [f"output_dir={arguments.output_dir}"] if arguments.output_dir else []
    return plan(
        spec,
        protocol=arguments.protocol,
        seeds=arguments.seeds,
        budget=arguments.budget,
        epochs=arguments.epochs,
        extra=[*(o for o in arguments.set if not of_hydra(o)), *place],
        rows=arguments.rows,
        columns=arguments.cols,
    )


def hydra_overrides(arguments: argparse.Namespace) -> list[str]:
    """What the command line says of how runs are launched."""
    launcher = [f"hydra/launcher={arguments.launcher}"] if arguments.launcher else []
    return [*launcher, *(o for o in arguments.set if of_hydra(o))]
