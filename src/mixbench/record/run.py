"""A saved run: what the directory of a run says, whoever asks."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

from mixbench.errors import DataError
from mixbench.record import checksum
from mixbench.record.read import Row, damages, read_environment, read_rows, read_summary
from mixbench.record.select import selections
from mixbench.schema.train import Train

# Numbers of the whole run; an epoch's row has its own times under the same names.
COST = ("train_seconds", "eval_seconds", "images_per_second", "peak_memory_bytes")

# The files of the weights that a run may keep, by the rule that selects their epoch.
WEIGHTS = {"last": "model.safetensors", "best_val": "best_val.safetensors"}

SHOWN = 10  # of what could not be read


class SavedRun:
    """The run in `directory`, finished or not, as its files say. Making one reads nothing, and needs no such directory.

    A file is read when something in it is first asked for, and kept: to look again, make another SavedRun. A summary
    that is damaged or not there is a `state`, never an exception. `weights` is a file to take for its final ones.
    """

    def __init__(self, directory: Path, weights: Path | None = None) -> None:
        self.directory, self._weights = directory, weights

    @cached_property
    def summary(self) -> dict[str, Any]:
        """summary.json; of a damaged one its `state` and `error` alone, and nothing where there is none."""
        return read_summary(self.directory) or {}

    @property
    def state(self) -> str:
        """finished, running (a process works on it), interrupted, failed, unreadable (damaged), or missing."""
        return self.summary.get("state", "missing")

    @property
    def standing(self) -> str:
        """The state; of a run that failed before its first step, "not begun"."""
        return "not begun" if self.state == "failed" and self.summary.get("begun") is False else self.state

    @property
    def error(self) -> str:
        """Why the run stopped, or what is wrong with its summary; empty where all is well."""
        return str(self.summary.get("error") or "")

    @property
    def id(self) -> str:
        """The run's id: as the summary has it, else the name of the directory."""
        return str(self.summary.get("id", self.directory.name))

    @property
    def launch(self) -> str:
        """The launch that began the run, as `machine.launch` names it; empty where the record does not tell."""
        return str(self.summary.get("launch") or "")

    @property
    def data(self) -> dict[str, str]:
        """The checksums of the data that it was trained on, by name; empty where the record does not tell."""
        found = self.summary.get("data")
        return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}

    @property
    def values(self) -> dict[str, Any]:
        """The config as it was when the run began, by the keys that set its values on the command line."""
        return self.summary.get("config", {})

    @cached_property
    def config(self) -> Train:
        """config.yaml as today's config. Raises ConfigError naming what does not fit, DataError for damaged data, and
        for a finished run's file that is not the one that it was finished with.
        """
        from mixbench.config.saved import saved_config

        path = self.directory / "config.yaml"
        expected, found = self.summary.get("files", {}).get(path.name), checksum.of_file(path)
        if self.state == "finished" and found is not None and expected not in (None, found):
            raise DataError(f"{checksum.damage(path, expected, found)}.")
        return saved_config(path)

    @property
    def rows(self) -> list[Row]:
        """One row for each epoch that is done. Raises DataError where epochs.csv cannot be trusted."""
        if isinstance(self._rows, DataError):
            raise self._rows
        return self._rows

    @cached_property
    def _rows(self) -> list[Row] | DataError:
        try:
            return read_rows(self.directory, self.summary)
        except DataError as error:
            return error

    @property
    def epochs_done(self) -> int:
        """The number of rows, 0 where they cannot be trusted."""
        with contextlib.suppress(DataError):
            return len(self.rows)
        return 0

    @property
    def selections(self) -> dict[str, Row]:
        """The rows that tables are made from, by the name of the rule; empty unless the run is finished."""
        return self.summary.get("selections", {})

    @property
    def reached(self) -> dict[str, Row]:
        """The same; of a run that is not finished those of the epochs that it has, if they can be trusted."""
        if self.selections:
            return self.selections
        with contextlib.suppress(DataError):
            return selections(self.rows)
        return {}

    def metric(self, key: str, select: str = "best_test") -> float:
        """A number of the epoch that a rule selects, or one of the whole run (COST); NaN where there is none."""
        return number(self.summary if key in COST else self.selections.get(select, {}), key)

    @property
    def weights(self) -> Path:
        """The file of the final weights, or of those that it was opened with; a run that is not finished has none."""
        return self._weights or self.directory / WEIGHTS["last"]

    @cached_property
    def environment(self) -> dict[str, Any]:
        """What trained the run last: env.json; empty where that cannot be read."""
        return read_environment(self.directory)

    @property
    def device(self) -> str:
        """The processor that trained it, in words."""
        name = "cpu" if self.environment.get("device") == "cpu" else "device_name"
        return str(self.environment.get(name, "unknown"))

    @property
    def commit(self) -> str:
        """What trained it: a commit, marked where files were changed since, or a version."""
        commit = self.environment.get("commit")
        if not commit:
            version = self.environment.get("mixbench")
            return f"mixbench {version}" if version else "unknown"
        return str(commit)[:10] + (" with changes" if self.environment.get("uncommitted") else "")

    def damages(self) -> list[str]:
        """A line for each file that is not what the summary says it is, or for the summary itself; read anew."""
        return damages(self.directory)


def left_out(folders: Sequence[str], records: Sequence[str]) -> str:
    """How many folders and records could not be read, and which, from a line about each; empty where all could."""
    lines = list[str]()
    for what, found in (("folder", folders), ("record", records)):
        if found:
            lines.append(f"{len(found)} {what}{'s' * (len(found) > 1)} could not be read:")
            lines += [f"  {line}" for line in found[:SHOWN]]
            lines += [f"  and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return "\n".join(lines)


def number(row: Mapping[str, Any], key: str) -> float:
    """The number under a key; NaN where there is none."""
    value = row.get(key)
    return float(value) if is_number(value) else math.nan


def is_number(value: Any) -> TypeGuard[float]:
    """True for what has a place on an axis."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
