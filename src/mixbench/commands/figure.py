"""`mixbench figure KEY`: a published figure drawn from our runs; trains what is missing only when told to."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from mixbench.commands import analyze, drawing
from mixbench.commands.table import add_run_options, agreed, hydra_overrides, planned_runs
from mixbench.errors import ConfigError, MixbenchError
from mixbench.machine.output import printable
from mixbench.papers.execute import counts, dry_run, train
from mixbench.papers.library import check, file_of, kind_of, load, names
from mixbench.papers.parse import SELECTIONS
from mixbench.papers.spec import Figure

EPILOG = """examples:
  mixbench tables                                all tables and figures, and how far each is
  mixbench figure li2023/fig2                    what has been run so far, beside the paper's values
  mixbench figure li2023/fig6 --dry-run          every run: its directory, its state, the time left
  mixbench figure li2023/fig6 --run --cols "CIFAR-100, WRN-16-4" --out fig6.pdf
  mixbench figure li2023/fig5 --run --budget 0.02 --seeds 1 --set dataset.train_size=5000
  mixbench figure li2023/fig6 --plain --style column --out fig6.pgf    for a paper, whose caption has the words

A figure shows exactly the runs that its options describe: give the same options to draw it again later. What is
missing, or not at the scale of the spec, is said in the lines under the picture, and by --plain on the terminal alone.
"""


def main(argv: list[str]) -> int:
    """The exit status of `mixbench figure ARGV`: 1 where --run leaves a run unfinished.

    Raises MixbenchError where no run has anything to draw.
    """
    if any(kind_of(file_of(word)) == "study" for word in argv[:1]):
        return analyze.main(argv, run=False)
    arguments = parser().parse_args(argv)
    check(arguments.key, "figure", partial(names, ("figure", "study")))
    spec = load(arguments.key)
    if not isinstance(spec, Figure):
        raise ConfigError(f"{arguments.key}: is a table; use mixbench table {arguments.key}.")
    name = Path(spec.key).stem if spec.key.endswith(".yaml") else spec.key
    path = Path(arguments.out or f"outputs/figures/{name}.png")
    drawing.check_path(path)
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
    from mixbench.papers import figure

    found = figure.assemble(spec, planned, arguments.select, arguments.protocol)
    if not found.panels:
        raise MixbenchError(
            f"{arguments.key}: nothing to draw; of its {len(planned)} runs, {counts(planned)}."
            " Add --run to train them, --dry-run to list them; runs of other options need the same options here."
        )
    drawing.draw(path, found.panels, found.per_row, found.title, found.caption, arguments)
    lines = [f"written: {path}", *found.caption, *(f"- {note}" for note in found.notes)]
    print(printable("\n".join(lines)))
    return status


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    found = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="mixbench figure",
        description="Draw a published figure from our runs, with the paper's values where it prints any.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("key", metavar="KEY", help="such as li2023/fig6, or a .yaml file of your own")
    add_run_options(found)
    found.add_argument(
        "--select",
        choices=SELECTIONS,
        help="the epoch that swept metrics are taken from (default: the spec's)",
    )
    drawing.add_options(found, "outputs/figures/KEY.png")
    return found
