"""`mixbench claims [PAPER]`: what the papers claim, and which of it our stored numbers confirm or refute."""

from __future__ import annotations

import argparse
from pathlib import Path

from mixbench.errors import ConfigError
from mixbench.files import write_atomic
from mixbench.studies.claims import PAPERS, markdown, of_paper, text

FORMATS = ("text", "md")
EPILOG = """examples:
  mixbench claims zhang2021                     of one paper
  mixbench claims --output-dir results          by the numbers that come with the repository
  mixbench claims --format md --out claims.md

Nothing is computed: a claim whose study has not been run is undecided, and says which command computes it.
"""


def main(argv: list[str]) -> int:
    """The exit status of `mixbench claims ARGV`. Raises ConfigError."""
    arguments = parser().parse_args(argv)
    if not Path(arguments.output_dir).is_dir():
        raise ConfigError(
            f"--output-dir {arguments.output_dir}: no such folder. `mixbench analyze KEY` computes what a claim is"
            " judged by; what comes with the repository lies in its folder results."
        )
    papers = [arguments.paper] if arguments.paper else PAPERS
    rows = {paper: of_paper(paper, Path(arguments.output_dir)) for paper in papers}
    content = (markdown if arguments.format == "md" else text)(rows)
    if arguments.out:
        write_atomic(Path(arguments.out), content.encode())
        print(f"written: {arguments.out}")
    else:
        print(content, end="")
    return 0


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    found = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="mixbench claims",
        description="The papers' claims, each with our test, our numbers and a verdict.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("paper", nargs="?", choices=PAPERS, metavar="PAPER", help=", ".join(PAPERS))
    found.add_argument(
        "--output-dir", default="outputs", metavar="FOLDER", help="where studies lie (default: outputs)"
    )
    found.add_argument("--format", default="text", choices=FORMATS)
    found.add_argument("--out", metavar="FILE", help="write to a file instead of the terminal")
    return found
