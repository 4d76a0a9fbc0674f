"""`mixbench tables`: every table, figure and study of the papers, how far each is, and what it waits for."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from mixbench import data
from mixbench.errors import MixbenchError
from mixbench.machine.output import printable
from mixbench.papers.cells import plan
from mixbench.papers.execute import counts, unfinished
from mixbench.papers.library import load, names
from mixbench.schema.train import Train
from mixbench.studies import library as studies
from mixbench.studies.store import progress


def main(argv: list[str]) -> int:
    """The exit status of `mixbench tables ARGV`."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="mixbench tables",
        description="List the papers' tables and figures, and how many of their runs are there at full scale;"
        " and what is computed rather than trained, and how many of its parts are.",
    )
    parser.add_argument(
        "--output-dir", metavar="FOLDER", help="folder of the runs and studies (default: outputs)"
    )
    arguments = parser.parse_args(argv)
    extra = [f"output_dir={arguments.output_dir}"] if arguments.output_dir else []
    width = max(map(len, [*names(), *studies.names()]))
    for key in names():
        spec = load(key)
        try:
            planned = plan(spec, extra=extra)
        except MixbenchError as error:  # of data that lie here, and are not those of the table
            print(printable(f"{key:{width}} {spec.title}\n{'':{width}} cannot be run here: {error}"))
            continue
        waits = f"; needs {spec.needs}" if spec.needs else ""
        print(f"{key:{width}} {spec.title}\n{'':{width}} {len(planned)} runs: {counts(planned)}{waits}")
        for what in dict.fromkeys(what for run in unfinished(planned) for what in _lacking(run.config)):
            print(printable(f"{'':{width}} not here: {what}"))
    folder = Path(arguments.output_dir or "outputs")
    for key in studies.names():
        study = studies.load(key)
        done, parts = progress(folder, study)
        fills = "; fills a table" if study.table is not None else ""
        print(f"{key:{width}} {study.title}\n{'':{width}} study: {done} of {parts} parts computed{fills}")
    print(
        "\nmixbench table KEY prints a table; --run trains what is missing, --budget FRACTION makes it shorter.\n"
        "mixbench analyze KEY computes a study; mixbench analyze KEY --help lists its parameters."
    )
    return 0


def _lacking(config: Train | None) -> Iterator[str]:
    """What has to be had before a run can be trained on this machine."""
    if config is not None:
        found = data.lacking(config.dataset, config.data_dir), getattr(config.model, "lacking", str)()
        yield from filter(None, found)
