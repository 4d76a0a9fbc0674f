"""Checkpoints that are whole or not there: `last.pt` and, behind it, `previous.pt`.

A file is torch.save's bytes followed by their SHA-256 in hexadecimal (torch.load does not mind the tail), so a
truncated or bit-flipped file is found before a number is read from it.

The rows of the epochs are not in it but in epochs.csv, to which one is added after each: a checkpoint holds how many
there were, and a checksum of them.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import torch

from mixbench.errors import DataError, MixbenchError
from mixbench.files import read_bounded
from mixbench.machine.ranks import ALONE, Ranks
from mixbench.record import checksum
from mixbench.record.read import read_rows
from mixbench.record.rows import marked
from mixbench.record.write import OpenRecord
from mixbench.training import fits

LAST, PREVIOUS, NEXT = "last.pt", "previous.pt", "next.pt"
ROWS = "epochs.csv"  # the key of what is held of this file, to which a checkpoint belongs
# What a part counts as that the checkpoints of earlier versions lack.
NEWER: dict[str, Any] = {"starts": {"data": {}, "history": []}, "best": {"epoch": 0, "weights": {}}}
DIGEST = checksum.DIGEST


class CheckpointError(MixbenchError):
    """No checkpoint of the run can be trusted."""


class Snapshot:
    """The parts of a run that change while it trains, saved and restored together.

    Every part has `state_dict()` and `load_state_dict(state)`. A checkpoint of another run than the record's is
    refused, and one that does not fit the parts of a run of so many `epochs` of `steps`. Of several `ranks`, which are
    all in one state, rank 0 alone writes and reads files.
    """

    def __init__(
        self, record: OpenRecord, ranks: Ranks = ALONE, *, epochs: int = 1, steps: int = 1, **parts: Any
    ) -> None:
        self.record, self.ranks, self.parts = record, ranks, parts
        self.epochs, self.steps = epochs, steps

    def save(self) -> None:
        """Write all parts to last.pt. Raises OutputError, with the checkpoint before still in place."""
        if self.ranks.rank > 0:
            return
        state = {name: part.state_dict() for name, part in self.parts.items()}
        write(self.record, {"identity": self.record.id, ROWS: self.record.rows_mark, **state})

    def restore(self) -> list[str] | None:
        """Set all parts to the newest whole checkpoint; None where there is none yet.

        Returns a line for each damaged file that was passed over. Raises CheckpointError.
        """
        state, damaged = read(self.record.directory) if self.ranks.rank == 0 else (None, [])
        state = self.ranks.told(state)
        if state is None:
            return None
        last = self.record.directory / LAST
        if state.get("identity") != self.record.id:
            raise CheckpointError(
                f"{last} belongs to run {state.get('identity')}, not to {self.record.id}:"
                " the directory was copied or renamed. force=true starts the run over."
            )
        try:
            fitting = {
                name: fits.fitting(name, {**NEWER, **state}[name], part, self.epochs, self.steps)
                for name, part in self.parts.items()
            }
            for name, part in self.parts.items():
                part.load_state_dict(fitting[name])
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{last} does not fit the run ({type(error).__name__}: {error}): another version of"
                " mixbench, or somebody else, wrote it. force=true starts the run over."
            ) from None
        return damaged


def remove(record: OpenRecord) -> None:
    """Delete the checkpoints of a finished run; its weights are in model.safetensors. Raises ClaimLost."""
    record.remove(PREVIOUS, LAST, NEXT)


def write(record: OpenRecord, state: dict[str, Any]) -> None:
    """Write `state` as last.pt; what was last.pt becomes previous.pt.

    Raises OutputError and ClaimLost, leaving both whole.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getvalue()
    record.write(NEXT, data + hashlib.sha256(data).hexdigest().encode())
    if (record.directory / LAST).exists():
        record.rename(LAST, PREVIOUS)
    record.rename(NEXT, LAST)


def read(directory: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest checkpoint that is whole, and a line about each one that is not.

    (None, []) where there is no checkpoint yet. Raises CheckpointError when there are some, all damaged, and for one
    that holds code: it is never run. A kill between save's two renames leaves the newest state in next.pt, so that is
    looked at first.
    """
    damaged: list[str] = []
    for name in (NEXT, LAST, PREVIOUS):
        path = directory / name
        if not os.path.lexists(path):
            continue
        try:
            data = read_bounded(path, checksum.MOST_BYTES)
        except OSError as error:
            damaged.append(f"{path} cannot be read: {error.strerror}")
            continue
        content, expected = data[:-DIGEST], data[-DIGEST:].decode(errors="replace")
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            damaged.append(
                f"{path} is damaged ({len(data)} bytes; checksum expected {expected[:12]}..., found {found[:12]}...)"
            )
        elif lacking := _take_rows(directory, state := _state(path, content)):
            damaged.append(f"{path} cannot be gone on from: {lacking}")
        else:
            return state, damaged
    if damaged:
        raise CheckpointError(
            "\n".join(damaged)
            + "\nNo whole checkpoint is left; force=true starts the run over (and keeps this"
            " directory under another name)."
        )
    return None, damaged


def _take_rows(directory: Path, state: dict[str, Any]) -> str:
    """Put the rows that a checkpoint was saved with into its position; returns what is wrong with epochs.csv, if so.

    Earlier versions have the rows there already.
    """
    mark = state.pop(ROWS, None)
    if mark is None:
        return ""
    try:
        rows = marked(read_rows(directory), mark)
        if rows is None:
            return f"{directory / 'epochs.csv'} has not the rows any more that it was saved with"
        state.setdefault("position", {})["rows"] = rows
    except DataError as error:
        return str(error)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # somebody else's
        return f"it names no rows of epochs.csv ({type(error).__name__}: {error})"
    return ""


def _state(path: Path, content: bytes) -> dict[str, Any]:
    """The content of a whole file. A checksum says nothing of who wrote it, so no code in it is run."""
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a pickle of somebody else raises
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{path} is no checkpoint of mixbench, and is not loaded: {why}\nforce=true starts the run over."
        ) from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is no checkpoint of mixbench: it holds a {type(state).__name__}.")
    return state
