"""Locks between processes, and disk errors in words."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

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
    # Never softly: a lock that is only a file would outlive its holder.
    lock = FileLock(root / f"{name}.lock", fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("waiting for another process that prepares %s (lock %s)", name, lock.lock_file)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
