"""Locks between processes, and disk errors in words."""

from __future__ import annotations

import errno
import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mixbench.errors import DataError

log = logging.getLogger(__name__)

_ADVICE = {
    errno.ENOSPC: "Free some space there",
    errno.EDQUOT: "The quota is used up: free some space there",
    errno.EROFS: "The file system is read-only: make it writable",
    errno.EACCES: "Grant access to it",
    errno.EPERM: "Grant access to it",
}


@contextmanager
def readable_errors(folder: Path) -> Iterator[None]:
    """Turns an OSError below `folder` into a DataError that names the file and says what helps."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "Check the disk")
        raise DataError(
            f"{error.filename or folder}: {error.strerror or error}. {advice}, "
            "or choose another folder with data_dir=FOLDER or the environment variable MIXBENCH_DATA."
        ) from error


@contextmanager
def locked(root: Path, name: str) -> Iterator[None]:
    """Holds the lock of the data set `name` below `root`; waits while another process holds it.

    The kernel gives the lock back when its holder ends, however it ends, so a killed process blocks nobody.
    """
    root.mkdir(parents=True, exist_ok=True)
    path = root / f"{name}.lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("waiting for another process that prepares %s (lock %s)", name, path)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
