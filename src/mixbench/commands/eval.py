"""`mixbench eval RUN...`: measure finished weights, and keep what was found beside them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from mixbench.analysis.evaluate import evaluations
from mixbench.analysis.evaluators import EVALUATORS, MissingPackage, changed, known
from mixbench.analysis.options import defaults
from mixbench.analysis.show import text
from mixbench.analysis.source import NoSuchPart, source
from mixbench.errors import ConfigError, DataError, MixbenchError
from mixbench.machine.output import printable
from mixbench.record.read import directories
from mixbench.record.run import WEIGHTS
from mixbench.schema.train import PRECISIONS

FORMATS = ("text", "json")
EPILOG = """examples:
  mixbench eval outputs/digits/small_cnn/erm/0123456789ab    all evaluations, on the run's test set
  mixbench eval outputs --only accuracy,confusion            of every run below a folder
  mixbench eval outputs --only robustness --set robustness.steps=50
                                                             attacks, stronger than by default
  mixbench eval RUN --on val                                 the examples that were held out in training
  mixbench eval RUN --on my.npz                              arrays images (N, H, W, C) and labels: names of
                                                             classes, or their places in the run's order
  mixbench eval RUN --on photos                              photos/CLASS/*.png, of the size that the run takes
  mixbench eval RUN --plugin FILE.py                         a network of your own, whose code that file is

evaluations:
{evaluators}

options:
{options}

* takes many passes: made only where it is named.
Results lie in RUN/evaluations/NAME.json, on other data NAME@val.json, with other options NAME~HASH.json. What has been
measured on the same weights is not measured again; delete a file to have it made anew.
"""


def main(argv: list[str]) -> int:
    """The exit status of `mixbench eval ARGV`: 1 where a run cannot be evaluated, but 0 where one of several only lacks
    the part of the data that was asked for. Raises ConfigError, DataError.
    """
    arguments = parser().parse_args(argv)
    names = known([name for name in arguments.only.split(",") if name])
    on = source(arguments.on) if arguments.on else None
    options = changed(arguments.set)
    if idle := [name for name in options if names and name not in names]:
        raise ConfigError(
            f"--set {idle[0]}.OPTION: {idle[0]} is not made; add it to --only {arguments.only}."
        )
    runs, failures, without, found = _runs(arguments.runs), 0, 0, []
    for directory in runs:
        try:
            measured, new = evaluations(
                directory,
                names,
                on,
                options=options,
                device=arguments.device,
                data_dir=arguments.data_dir,
                select=arguments.weights,
                precision=arguments.precision,
            )
        except MissingPackage:
            raise
        except MixbenchError as error:
            lacks = isinstance(error, NoSuchPart)
            without += lacks
            failures += not lacks
            print(printable(f"mixbench eval: {error}"), file=sys.stderr)
            continue
        found.append({"run": str(directory), "evaluations": measured})
        if arguments.format == "text":
            known_before = [e["name"] for e in measured if e["name"] not in new]
            head = f"{directory}" + (f" (measured before: {', '.join(known_before)})" if known_before else "")
            print(printable("\n".join([head, *map(text, measured)])), flush=True)
    if arguments.format == "json":
        print(json.dumps(found, indent=1))
    return 1 if failures or without == len(runs) else 0


def _runs(given: list[str]) -> list[Path]:
    """The run directories among the given ones, and below them. Raises DataError for one that has none."""
    runs = dict[Path, None]()
    for name in given:
        below = list(directories(Path(name)))
        if not below:
            hint = f" The evaluation is chosen with --only {name}." if name in EVALUATORS else ""
            raise DataError(f"{name}: is no run, and no folder of runs.{hint}")
        runs |= dict.fromkeys(below)
    return list(runs)


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    width = max(map(len, EVALUATORS))
    evaluators = "\n".join(
        f"  {name:{width}}  {entry.about}{' *' if entry.asked else ''}" for name, entry in EVALUATORS.items()
    )
    options = "\n".join(
        f"  {name}.{option.name}={json.dumps(value)}  {option.metadata['doc']}"
        for name, entry in EVALUATORS.items()
        for option, value in zip(
            dataclasses.fields(entry.options), defaults(entry.options).values(), strict=True
        )
    )
    found = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="mixbench eval",
        description="Measure what finished runs can do, on their test sets or on data of your own.",
        epilog=EPILOG.format(evaluators=evaluators, options=options),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("runs", nargs="+", metavar="RUN", help="the directory of a run, or a folder of runs")
    found.add_argument(
        "--on",
        default="",
        metavar="DATA",
        help="test, val or train, an .npz file or a folder of images (default: train for sharpness, hessian and slices,"
        " test for all others)",
    )
    found.add_argument(
        "--only", default="", metavar="A,B,...", help="these evaluations (default: all without *)"
    )
    found.add_argument(
        "--set", action="append", default=[], metavar="NAME.OPTION=VALUE", help="an option; may be repeated"
    )
    found.add_argument(
        "--weights",
        default="last",
        choices=tuple(WEIGHTS),
        help="of which epoch; best_val for runs trained with keep=best_val or both (default: last)",
    )
    found.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    found.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="of the arithmetic; what was measured in another one is measured anew (default: as in training)",
    )
    found.add_argument(
        "--data-dir", metavar="FOLDER", help="folder of the prepared data sets (default: as in training)"
    )
    found.add_argument("--format", default="text", choices=FORMATS)
    return found
