"""Errors that a user can act on: each carries one readable message and the exit status of the command."""

from __future__ import annotations

import errno
from pathlib import Path


class MixbenchError(Exception):
    """A failure whose message is all the user needs; printed without a traceback."""

    exit_status = 1


class ConfigError(MixbenchError):
    """A configuration mistake: names the key, what was given and what is allowed."""

    exit_status = 2


class DataError(MixbenchError):
    """A data set or data file that is missing, truncated or not what it should be."""

    exit_status = 2


class OutputError(MixbenchError):
    """The output folder cannot be written: read-only, full, or over quota."""

    exit_status = 2


REASONS = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "no permission to write there",
}


def output_error(path: Path, error: OSError) -> OutputError:
    """The OSError met while writing `path`, in words."""
    reason = REASONS.get(error.errno or 0, error.strerror or str(error))
    return OutputError(f"cannot write {path}: {reason}.")
