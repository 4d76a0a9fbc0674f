"""What was found in files, remembered by their sizes and times, so that a set is read whole only once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from mixbench.errors import OutputError
from mixbench.files import write_atomic
from mixbench.inventory.paths import data_dir

# A file that was written so short a time before it was read may have been written again since without a new time: some
# file systems count in steps of two seconds.
FRESH_NS = 2_000_000_000


class Index:
    """What is known of the files below `root`: lists of plain values, by name, size and time of the last change.

    Lies in <data_dir>/inventory/. One that is damaged, or cannot be written, costs time and nothing else.
    """

    def __init__(self, root: Path, given_data_dir: str | os.PathLike[str] | None) -> None:
        name = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
        self.path = data_dir(given_data_dir) / "inventory" / f"{name}.json"
        self._before = self._read()
        self._now: dict[str, list[Any]] = {}

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self.path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def known(self, file: str, stat: os.stat_result) -> list[Any] | None:
        """What was noted of the file, if it is still the same by size and time; it then stays noted."""
        entry = self._before.get(file)
        if not isinstance(entry, list) or entry[:2] != [stat.st_size, stat.st_mtime_ns]:
            return None
        self._now[file] = entry
        return entry[2:]

    def note(self, file: str, stat: os.stat_result, read_at: int, facts: list[Any]) -> None:
        """Remember what was found in the file, read at `read_at` (time.time_ns) after `stat` was taken."""
        if read_at - stat.st_mtime_ns > FRESH_NS:
            self._now[file] = [stat.st_size, stat.st_mtime_ns, *facts]

    def save(self) -> None:
        """Keep what was noted or asked for; the rest is forgotten."""
        if self._now == self._before:
            return
        with contextlib.suppress(OSError, OutputError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self.path, json.dumps(self._now).encode())
