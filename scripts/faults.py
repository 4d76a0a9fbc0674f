"""The table of injected faults, in Markdown: runs every test that injects one, and counts.

    python scripts/faults.py                        all of them
    python scripts/faults.py -m "not slow"          further arguments go to pytest; its own output to standard error

A test marked `fault(row)` injects one fault, or as many as it reports by `record_property("faults", n)`. They are
survived where the test passes and lost where it fails. The exit status is pytest's.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

ROWS = {
    "signals": "SIGTERM, SIGUSR1, Ctrl-C: in training, in a sweep, while starting",
    "kill": "SIGKILL at random moments and before every file operation",
    "disk": "disk full, read-only or over a limit, in the middle of a run",
    "damage": "truncated or bit-flipped checkpoint, rows, config, summary, weights",
    "claims": "two processes, one run; a dead owner; clocks that differ",
    "data": "damaged data, servers that stall or send garbage, archives that climb out",
    "failure": "non-finite loss, out of memory",
    "hostile": "checkpoint, config or record from someone hostile",
    "workers": "a worker process or a rank dies or hangs",
    "fuzz": "random overrides and command lines",
}


def main(argv: list[str]) -> int:
    """Run the tests, print the table, return pytest's exit status."""
    parser = argparse.ArgumentParser(description="Run the tests that inject faults, and print their table.")
    parser.add_argument("-m", metavar="MARKS", default="", help="only the tests with these marks")
    arguments, others = parser.parse_known_args(argv)
    marks = f"fault and ({arguments.m})" if arguments.m else "fault"
    with tempfile.TemporaryDirectory() as folder:
        junit = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-m", marks, f"--junitxml={junit}", *others]
        repository = Path(__file__).resolve().parents[1]
        status = subprocess.run(command, cwd=repository, stdout=sys.stderr).returncode
        if junit.exists():
            print(table(junit))
    return status


def table(junit: Path) -> str:
    """The Markdown table of the tests in a JUnit file."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(("survived", "lost", "skipped"), 0))
    for case in ET.parse(junit).iter("testcase"):
        properties = {p.get("name"): p.get("value", "") for p in case.iter("property")}
        bad = case.find("failure") is not None or case.find("error") is not None
        outcome = "lost" if bad else "skipped" if case.find("skipped") is not None else "survived"
        counts[str(properties["fault"])][outcome] += int(properties.get("faults", "1"))
    lines = ["| fault | injected | survived | lost |", "|---|---:|---:|---:|"]
    for row in [*ROWS, *sorted(counts.keys() - ROWS.keys())]:
        found = counts[row]
        skipped = f" ({found['skipped']} not possible here)" if found["skipped"] else ""
        injected = found["survived"] + found["lost"]
        lines.append(
            f"| {ROWS.get(row, row)}{skipped} | {injected} | {found['survived']} | {found['lost']} |"
        )
    total = [sum(found[outcome] for found in counts.values()) for outcome in ("survived", "lost")]
    lines.append(f"| all | {sum(total)} | {total[0]} | {total[1]} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
