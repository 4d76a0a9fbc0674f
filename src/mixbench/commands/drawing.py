"""The options that all commands with a picture share, and the file that they write."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mixbench.errors import ConfigError, output_error
from mixbench.files import write_atomic
from mixbench.summarize.looks import FORMATS, LOOKS, check_form

if TYPE_CHECKING:
    from mixbench.summarize.plots import Plot


def add_options(found: argparse.ArgumentParser, default: str) -> None:
    """Where the picture goes, `default` in words, and what it is for."""
    found.add_argument("--out", metavar="FILE", help=f"{', '.join(FORMATS)} (default: {default})")
    found.add_argument(
        "--style",
        default="page",
        choices=LOOKS,
        help="for two columns of a journal, for one, or for a slide (default: page)",
    )
    found.add_argument("--no-title", action="store_true", help="without the title above the panels")
    found.add_argument(
        "--plain", action="store_true", help="the panels and their legend alone: no title, no lines below"
    )


def check_path(path: Path) -> None:
    """Raises ConfigError where such a file cannot be drawn on this machine."""
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"--out {path}: the file name must end in one of {', '.join(FORMATS)}.")
    check_form(path.suffix[1:].lower())


def draw(
    path: Path,
    panels: Sequence[Plot],
    per_row: int,
    title: str,
    foot: Sequence[str],
    arguments: argparse.Namespace,
) -> None:
    """Draw the panels into `path` as the options ask. Raises OutputError."""
    from mixbench.summarize.plots import picture

    content = picture(
        panels,
        per_row,
        "" if arguments.plain or arguments.no_title else title,
        [] if arguments.plain else foot,
        path.suffix[1:].lower(),
        LOOKS[arguments.style],
    )
    write(path, content)


def write(path: Path, content: bytes) -> None:
    """Write the file, and the folder that it lies in. Raises OutputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(path.parent, error) from None
    write_atomic(path, content)
