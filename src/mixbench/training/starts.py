"""What every start of a run must have in common with those before it, as checkpoint and summary keep it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mixbench.errors import DataError
from mixbench.record.data import difference


class Starts:
    """A part of a run's checkpoint. `data`: the checksums of the set `name`, as loaded now for the run in `directory`."""

    def __init__(self, directory: Path, name: str, data: Mapping[str, str]) -> None:
        self.directory, self.name, self.data = directory, name, dict(data)

    def state_dict(self) -> dict[str, Any]:
        """Plain containers, for checkpoint and summary."""
        return {"data": self.data}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a start before this one. Raises DataError where that trained on other data."""
        if words := difference(self.directory, self.name, state["data"], self.data):
            raise DataError(words)
