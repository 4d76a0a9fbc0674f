"""`mixbench tables`: every table, figure and study of the papers, and how far each is."""

from __future__ import annotations

import argparse
from pathlib import Path

from mixbench.papers.cells import plan
from mixbench.papers.execute import counts
from mixbench.papers.library import load, names
from mixbench.studies import library as studies
from mixbench.studies.store import progress


def main(argv: list[str]) -> int:
    """The exit status of `mixbench tables ARGV`."""
    parser = argparse.ArgumentParser(
        prog="mixbench tables",
        description="List the papers' tables and figures, and how many of their runs are there at full scale;"
        " and what is computed rather than trained, and how many of its parts are.",
    )
    parser.add_argument(
        "--output-dir", metavar="FOLDER", help="folder of the runs and studies (default: outputs)"
    )
    arguments = parser.parse_args(argv)
    extra = [f"output_dir={arguments.output_dir}"] if arguments.output_dir else []
    for key in names():
        spec = load(key)
        planned = plan(spec, extra=extra)
        waits = f"; needs {spec.needs}" if spec.needs else ""
        print(f"{key:18} {spec.title}\n{'':18} {len(planned)} runs: {counts(planned)}{waits}")
    folder = Path(arguments.output_dir or "outputs")
    for key in studies.names():
        study = studies.load(key)
        done, parts = progress(folder, study)
        print(f"{key:18} {study.title}\n{'':18} study: {done} of {parts} parts computed")
    print(
        "\nmixbench table KEY prints a table; --run trains what is missing, --budget FRACTION makes it shorter.\n"
        "mixbench analyze KEY computes a study; mixbench analyze KEY --help lists its parameters."
    )
    return 0
