"""A sweep is frozen when it starts: a run that starts later, from other source or conf, says so."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from mixbench.config import plugins
from mixbench.config.library import conf_dir, listed

VARIABLE = "MIXBENCH_SWEEP"  # every launcher hands the environment on


@contextlib.contextmanager
def frozen(config_dir: str | None = None) -> Iterator[None]:
    """Runs that start inside the block, here or in other processes, compare themselves with what is there now."""
    before = os.environ.get(VARIABLE)
    folder = str(Path(config_dir).absolute()) if config_dir else None
    os.environ[VARIABLE] = json.dumps({"config_dir": folder, **_fingerprints(folder)})
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def changed_since_start() -> list[str]:
    """What differs from the start of the sweep that this process belongs to; empty outside a sweep."""
    if VARIABLE not in os.environ:
        return []
    start = json.loads(os.environ[VARIABLE])
    return [name for name, found in _fingerprints(start["config_dir"]).items() if start[name] != found]


def _fingerprints(config_dir: str | None) -> dict[str, str]:
    """SHA-256 of the package's source, and of the option files; versions of plugins. Takes 10 ms."""
    package = Path(__file__).resolve().parents[1]
    folders = [conf_dir(), *([Path(config_dir)] if config_dir else [])]
    return {
        "source": _digest(listed(package, "**/*.py")),
        "conf": _digest([path for folder in folders for path in listed(folder, "**/*.yaml")]),
        "plugins": json.dumps(plugins.versions()),
    }


def _digest(paths: list[Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        # An editor is replacing it, or we may not read it; then nor may Hydra.
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            found.update(os.fsencode(path.name) + f" {len(content)}\n".encode() + content)
    return found.hexdigest()
