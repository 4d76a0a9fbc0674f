"""`mixbench report`: tables, plots and every run on one self-contained HTML page."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from urllib.parse import quote

from mixbench.errors import ConfigError, MixbenchError
from mixbench.files import write_atomic
from mixbench.machine.output import printable
from mixbench.record.run import left_out

EPILOG = """examples:
  mixbench report                                   all runs below outputs/, into report.html
  mixbench report outputs/cifar100 --out cifar.html
  mixbench report laptop/outputs cluster/outputs    runs of several places on one page
  mixbench report --serve                           at http://127.0.0.1:8420/, new while runs go on; Ctrl-C ends it

The page needs no network and no other file. It holds plots for each data set and model, a list of the runs to search in
and to compare two of, for every run its config and environment, and the papers' tables and figures that the runs belong
to, at the scale at which they were made. Of more than 300 runs it is a summary of a few MB, with FILE.runs.csv beside
it, which has them all.
"""


def main(argv: list[str]) -> int:
    """The exit status of `mixbench report ARGV`. Raises MixbenchError where there are no runs."""
    arguments = parser().parse_args(argv)
    places = [Path(place) for place in arguments.runs]
    if arguments.serve:
        return _serve(places, arguments.port)
    from mixbench.report.page import MOST_RUNS, page
    from mixbench.summarize.frame import frame_of
    from mixbench.summarize.settings import collect

    skipped = list[str]()
    runs = collect(places, skipped)
    if unread := left_out(skipped, [run.error for run in runs if run.state == "unreadable"]):
        print(printable(unread), file=sys.stderr)
    if not runs:
        raise MixbenchError(f"no runs in {', '.join(map(str, places))}; `mixbench train` makes one.")
    out = Path(arguments.out)
    if not out.name or out.is_dir():
        raise ConfigError(f"--out {arguments.out}: is a folder; name the file, such as report.html.")
    listed = out.with_name(f"{out.stem}.runs.csv")
    content = printable(page(runs, quote(listed.name))).encode()
    write_atomic(out, content)
    print(f"written: {out} ({len(runs)} run{'s' * (len(runs) > 1)}, {len(content) / 1e6:.1f} MB)")
    if len(runs) > MOST_RUNS:
        write_atomic(listed, printable(frame_of(runs, "best_test").to_csv(index=False)).encode())
        print(f"written: {listed} (every run with its config, and its metrics at the epoch best_test)")
    return 0


def _serve(places: list[Path], port: int) -> int:
    """Until Ctrl-C."""
    for place in places:
        if not place.exists():
            raise ConfigError(f"{place}: no such folder; name run directories, or folders that hold some.")
    from mixbench.report.serve import server

    with server(places, port) as serving:
        host, number = serving.server_address[:2]
        print(f"http://{host!s}:{number}/ shows {', '.join(map(str, places))} until Ctrl-C", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            serving.serve_forever()
    print("stopped")
    return 0


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    found = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="mixbench report",
        description="Write tables, plots and every run to one self-contained HTML page.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument(
        "runs",
        nargs="*",
        default=["outputs"],
        metavar="RUNS",
        help="run directories, or folders of them (outputs)",
    )
    found.add_argument("--out", default="report.html", metavar="FILE", help="default: report.html")
    found.add_argument(
        "--serve",
        action="store_true",
        help="show the page in a browser of this machine instead, as runs go on",
    )
    found.add_argument(
        "--port", type=int, default=8420, metavar="N", help="with --serve (8420; 0 takes any that is free)"
    )
    return found
