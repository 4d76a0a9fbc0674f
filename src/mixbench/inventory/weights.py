"""The weights of a finished run, as `init_from` names them: where they lie, and their checksum. Nothing is loaded."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from mixbench.errors import ConfigError
from mixbench.inventory import remembered

FILE = "model.safetensors"


def look(given: str) -> tuple[str, str]:
    """The absolute path of the file, and its SHA-256. `given` is a run's directory, or a file of weights.

    Raises ConfigError where there is neither.
    """
    try:
        path = Path(os.path.abspath(Path(given).expanduser()))
        path = path / FILE if path.is_dir() else path
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}")
        return str(path), remembered(("weights", path), lambda: hashlib.sha256(path.read_bytes()).hexdigest())
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # of a disk, of a NUL in the name, of a home that is not known
        raise ConfigError(
            f"init_from={given}: {error}. It names the directory of a finished run, or a file of weights."
        ) from None
