"""`mixbench tables`: every table and figure of the papers, and how far each is."""

from __future__ import annotations

import argparse

from mixbench.papers.cells import plan
from mixbench.papers.execute import counts
from mixbench.papers.library import load, names


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
    print(
        "\nmixbench table KEY prints a table; --run trains what is missing, --budget FRACTION makes it shorter."
    )
    return 0
