"""`mixbench retry`: train again what failed or was interrupted, each run from its own config."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mixbench.commands.runs import tell_left_out
from mixbench.errors import ConfigError, DataError
from mixbench.machine.output import printable
from mixbench.record.run import SavedRun
from mixbench.summarize.frame import frame, query
from mixbench.sweep.execute import train
from mixbench.sweep.grid import dry_run, outcome
from mixbench.sweep.job import Job
from mixbench.sweep.replay import job

EPILOG = """examples:
  mixbench retry                        every failed or interrupted run below outputs/
  mixbench retry --dry-run              list them, with the time they will take
  mixbench retry dataset=cifar100 opt.rho>=0.1 --jobs 2

A run goes on from its last checkpoint; one that failed because of its own values will fail again.
"""


def main(argv: list[str]) -> int:
    """The exit status of `mixbench retry ARGV`: 1 where a run is still not finished."""
    arguments = parser().parse_args(argv)
    folders = list[str]()
    runs = frame(Path(arguments.output_dir), skipped=folders)
    tell_left_out(folders, runs)
    if not runs.empty:
        runs = query(runs, arguments.conditions)
        runs = runs[runs["state"].isin(("failed", "not begun", "interrupted"))]
    if runs.empty:
        print(f"nothing to retry below {arguments.output_dir}")
        return 0
    jobs, refused = list[Job](), 0
    for directory in runs["dir"]:
        try:
            jobs.append(job(SavedRun(Path(directory))))
        except (ConfigError, DataError) as error:
            refused += 1
            print(printable(f"mixbench retry: {error}"), file=sys.stderr)
    if arguments.dry_run and jobs:
        print(printable(dry_run(jobs)))
    elif jobs:
        print(f"{len(jobs)} runs to retry", flush=True)
        train(jobs, at_once=arguments.jobs)
        sentence, status = outcome(jobs)
        print(printable(sentence))
        return 1 if refused else status
    return 1 if refused else 0


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    found = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="mixbench retry",
        description="Train again what failed or was interrupted, each run from its own config.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument(
        "conditions", nargs="*", metavar="QUERY", help="as for mixbench runs: KEY=VALUE; all must hold"
    )
    found.add_argument(
        "--output-dir",
        default="outputs",
        metavar="FOLDER",
        help="folder of the runs, or one run (default: outputs)",
    )
    found.add_argument("--dry-run", action="store_true", help="list the runs; train nothing")
    found.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="runs side by side (default: 1 on a CPU; what fits on a GPU under MPS, up to 4)",
    )
    return found
