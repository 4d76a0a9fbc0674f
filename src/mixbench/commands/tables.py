"""`mixbench tables`: every table and figure of the papers, how far each is, and what it waits for."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from mixbench import data
from mixbench.machine.output import printable
from mixbench.papers.cells import plan
from mixbench.papers.execute import counts, unfinished
from mixbench.papers.library import load, names
from mixbench.schema.train import Train


def main(argv: list[str]) -> int:
    """The exit status of `mixbench tables ARGV`."""
    parser = argparse.ArgumentParser(
        prog="mixbench tables",
        description="List the papers' tables and figures, and how many of their runs are there at full scale.",
    )
    parser.add_argument("--output-dir", metavar="FOLDER", help="folder of the runs (default: outputs)")
    arguments = parser.parse_args(argv)
    extra = [f"output_dir={arguments.output_dir}"] if arguments.output_dir else []
    for key in names():
        spec = load(key)
        planned = plan(spec, extra=extra)
        waits = f"; needs {spec.needs}" if spec.needs else ""
        print(f"{key:18} {spec.title}\n{'':18} {len(planned)} runs: {counts(planned)}{waits}")
        for what in dict.fromkeys(what for run in unfinished(planned) for what in _lacking(run.config)):
            print(printable(f"{'':18} not here: {what}"))
    print(
        "\nmixbench table KEY prints a table; --run trains what is missing, --budget FRACTION makes it shorter."
    )
    return 0


def _lacking(config: Train | None) -> Iterator[str]:
    """What has to be had before a run can be trained on this machine."""
    if config is not None:
        found = data.lacking(config.dataset, config.data_dir), getattr(config.model, "lacking", str)()
        yield from filter(None, found)
