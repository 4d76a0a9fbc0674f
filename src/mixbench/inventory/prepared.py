"""How much of a published set lies prepared on this machine: all of it, or a part that was imported."""

from __future__ import annotations

import json
import os
from pathlib import Path

from mixbench.inventory import remembered
from mixbench.inventory.paths import data_dir as resolve


def sizes(name: str, data_dir: str | os.PathLike[str] | None = None) -> tuple[int, int] | None:
    """Training and test examples; None for a set that is not prepared, or whose meta.json does not tell."""
    path = resolve(data_dir) / name / "meta.json"
    return remembered(("prepared", path), lambda: _sizes(path))


def _sizes(path: Path) -> tuple[int, int] | None:
    try:
        files = json.loads(path.read_bytes())["files"]
        train, test = (int(files[f"{part}_labels"]["shape"][0]) for part in ("train", "test"))
    except (OSError, ValueError, LookupError, TypeError, RecursionError):  # said by whoever reads the arrays
        return None
    return train, test
