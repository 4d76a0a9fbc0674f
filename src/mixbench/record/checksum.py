"""The checksums of a record, by which a number that has changed on the disk is found."""

from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path
from typing import Any

from mixbench.errors import DataError
from mixbench.files import opened_regular

# The files whose checksums summary.json holds while nobody works on the run.
CHECKED = ("config.yaml", "epochs.csv", "model.safetensors", "best_val.safetensors")

CHECKPOINTS = ("last.pt", "previous.pt", "next.pt")  # end with their own
DIGEST = 64  # hexadecimal characters of a SHA-256, which a checkpoint ends with
MOST_BYTES = 2**36  # of a file of weights, which is read to its end


def of_file(path: Path) -> str | None:
    """The SHA-256 of a regular file in hexadecimal; None where there is no such file.

    Raises DataError for anything else: a device, a link, which may lead out of the run's folder, over MOST_BYTES.
    """
    found = hashlib.sha256()
    try:
        with open(opened_regular(path, MOST_BYTES, follow=False), "rb") as file:
            while part := file.read(1 << 20):
                found.update(part)
    except FileNotFoundError:
        return None
    except OSError as error:
        why = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise DataError(f"{path} cannot be read: {why}") from None
    return found.hexdigest()


def of_checkpoint(path: Path) -> tuple[str, str] | None:
    """The checksum at the end of a checkpoint, and that of all before it; None where there is no such file.

    Raises DataError as `of_file` does.
    """
    found, last = hashlib.sha256(), b""
    try:
        with open(opened_regular(path, MOST_BYTES, follow=False), "rb") as file:
            while part := file.read(1 << 20):
                last += part
                found.update(last[:-DIGEST])
                last = last[-DIGEST:]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    return last.decode(errors="replace"), found.hexdigest()


def of_summary(summary: dict[str, Any]) -> str:
    """The SHA-256 that summary.json holds of the rest of its content, whatever the order of the keys."""
    return hashlib.sha256(json.dumps(summary, sort_keys=True).encode()).hexdigest()


def damage(path: Path, expected: object, found: str | None) -> str:
    """What is wrong with a file that should have one checksum and has another, or is not there."""
    if found is None:
        return f"{path} is missing"
    return f"{path} is damaged (checksum expected {str(expected)[:12]}..., found {found[:12]}...)"
