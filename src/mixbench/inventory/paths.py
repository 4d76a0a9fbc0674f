"""Where data lies on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from mixbench.files import expanded


def data_dir(given: str | os.PathLike[str] | None = None) -> Path:
    """The folder of all data sets: `given`, else the environment's MIXBENCH_DATA, else ~/.cache/mixbench."""
    return expanded(given or os.environ.get("MIXBENCH_DATA") or "~/.cache/mixbench").absolute()


def downloads(root: Path, name: str) -> Path:
    """The folder of the official archives of one set (Fashion-MNIST and KMNIST share their file names)."""
    return root / "downloads" / name
