"""Writing a run's directory: by the process that holds the run, and by no other."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mixbench.errors import output_error
from mixbench.files import append, plain, write_atomic, write_json
from mixbench.record import checksum
from mixbench.record.claim import CLAIM, Claim, claimed
from mixbench.record.read import Row
from mixbench.record.rows import Written, columns_of, lines


class OpenRecord:
    """The record of a run that this process holds, in `directory`; `id` names the run.

    Every file is whole or not there, and the claim is asked just before each rename, or line of epochs.csv: a process
    that has lost the run writes nothing. All methods raise ClaimLost then, and OutputError where the disk refuses, with
    the file before still in place.

    `claim` is None on the ranks above 0, which keep no record: to write is a mistake there (RuntimeError).
    """

    def __init__(self, directory: Path, id: str, claim: Claim | None) -> None:
        self.directory, self.id, self._claim = directory, id, claim
        self._rows, self._inode = Written([], 0, b""), 0  # of epochs.csv, as this process has written it

    @property
    def claim(self) -> Claim:
        """What gives the right to write."""
        if self._claim is None:
            raise RuntimeError(f"{self.directory}: only the process that holds the run writes its record")
        return self._claim

    def write(self, name: str, data: bytes) -> None:
        """Replace the file `name`."""
        write_atomic(self.directory / name, data, self.claim.check)

    def write_json(self, name: str, content: Any) -> None:
        """Replace the file `name` by `content` as JSON."""
        write_json(self.directory / name, content, self.claim.check)

    def write_rows(self, rows: Sequence[Row]) -> None:
        """Replace epochs.csv. Floats are written so that reading them back gives the same bits."""
        columns = columns_of(rows)
        text = lines(rows, columns, head=True)
        self.write("epochs.csv", text)
        self._rows = Written(columns, len(rows), text)
        self._inode = os.stat(self.directory / "epochs.csv").st_ino

    def add_row(self, rows: Sequence[Row]) -> None:
        """Add the last of `rows` to epochs.csv, in a time that does not depend on how many there are.

        All are written where the row has a new column, or the file is not the one with the others any more. A file is
        known by its inode: who takes a run over replaces it, so a line that comes late is in nobody's way.
        """
        row = rows[-1]
        line = lines([row], self._rows.columns)
        known = row.keys() <= set(self._rows.columns) and self._rows.count == len(rows) - 1
        place = self.directory / "epochs.csv"
        if known and append(place, line, self._inode, self._rows.size, self.claim.check):
            self._rows.add(line)
        else:
            self.write_rows(rows)

    @property
    def rows_mark(self) -> dict[str, Any]:
        """What a checkpoint holds of the rows that were written; `rows.marked` finds them again."""
        return self._rows.mark()

    def write_config(self, config: Any) -> None:
        """Replace config.yaml by the composed config, a dataclass."""
        from omegaconf import OmegaConf

        text = OmegaConf.to_yaml(OmegaConf.create(dataclasses.asdict(config)))
        self.write("config.yaml", text.encode())

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Replace summary.json, with its checksum and, unless the run goes on, those of the other files."""
        content = plain(summary)
        if summary["state"] != "running":
            found = {name: checksum.of_file(self.directory / name) for name in checksum.CHECKED}
            content["files"] = {name: digest for name, digest in found.items() if digest}
        self.write_json("summary.json", {**content, "sha256": checksum.of_summary(content)})

    def rename(self, name: str, new: str) -> None:
        """Give the file `name` another name, in place of the file that has it."""
        self.claim.check()
        try:
            os.replace(self.directory / name, self.directory / new)
        except OSError as error:
            raise output_error(self.directory / new, error) from None

    def remove(self, *names: str) -> None:
        """Delete files, those of them that there are."""
        self.claim.check()
        try:
            for name in names:
                (self.directory / name).unlink(missing_ok=True)
        except OSError as error:
            raise output_error(self.directory / name, error) from None


def move_aside(directory: Path) -> Path | None:
    """Rename a run's directory so that it can start over; nothing is deleted. Returns the new place, if any."""
    if not directory.exists():
        return None
    with claimed(directory):
        number = 1
        while (aside := directory.with_name(f"{directory.name}.old{number}")).exists():
            number += 1
        directory.rename(aside)
        (aside / CLAIM).unlink(missing_ok=True)
    return aside


def delete(directory: Path) -> None:
    """Delete a run's directory with all that is in it, and the folders of method, model and data set that it leaves
    empty. The summary goes first: what a kill leaves is no run.

    Raises RunBusy while a process works on it, OutputError.
    """
    with claimed(directory):
        try:
            (directory / "summary.json").unlink(missing_ok=True)
            shutil.rmtree(directory)
        except OSError as error:
            raise output_error(directory, error) from None
    for folder in list(directory.parents)[:3]:
        with contextlib.suppress(OSError):  # not empty
            folder.rmdir()
