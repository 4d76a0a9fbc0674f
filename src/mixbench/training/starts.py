"""Under what each start of a run trained, as checkpoint and summary keep it: data, commit, torch, device, threads."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mixbench.errors import DataError
from mixbench.record.data import difference
from mixbench.schema.train import Train

# Knobs that decide no result in exact arithmetic, but how sums round.
ROUNDING = ("channels_last", "compile", "cuda_graph", "deterministic", "eval_batch_size")


class Starts:
    """A part of a run's checkpoint: the starts that have brought it to where it is, this one included.

    `data` are the checksums of the set `name`, as loaded now for the run in `directory`; `now` is what `conditions`
    gives. Nothing is left of a start that was killed before its first checkpoint.
    """

    def __init__(self, directory: Path, name: str, data: Mapping[str, str], now: dict[str, Any]) -> None:
        self.directory, self.name, self.data, self.history = directory, name, dict(data), [now]

    def state_dict(self) -> dict[str, Any]:
        """Plain containers, for checkpoint and summary."""
        return {"data": self.data, "history": self.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the starts before this one. Raises DataError where they trained on other data."""
        if words := difference(self.directory, self.name, state["data"], self.data):
            raise DataError(words)
        self.history = [*state["history"], *self.history]

    @property
    def plugins_before(self) -> dict[str, str]:
        """Version or checksum of each plugin at the start before this one; empty where there was none."""
        words = self.history[-2].get("plugins", "").split() if len(self.history) > 1 else []
        return dict(zip(words[::2], words[1::2], strict=True))


def conditions(environment: Mapping[str, Any], config: Train) -> dict[str, Any]:
    """Of an env.json and the config what the bits of a result depend on besides the run's identity and its data."""
    commit, changes = environment["commit"], environment["uncommitted"]
    on_cpu = environment["device"] == "cpu"
    return {
        "at": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "commit": (commit or f"mixbench {environment['mixbench']}")[:20]
        + (f" with changes {changes[:8]}" if changes else ""),
        "plugins": " ".join(f"{name} {version}" for name, version in environment["plugins"].items()),
        "torch": str(environment["packages"]["torch"]),  # torch.load knows no TorchVersion
        "device": environment["cpu"] if on_cpu else environment["device_name"],
        "threads": environment["threads"] if on_cpu else None,
        **{knob: getattr(config, knob) for knob in ROUNDING},
    }
