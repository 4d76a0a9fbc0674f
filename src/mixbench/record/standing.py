"""How far a run has come, and how long the rest will take."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from mixbench.config.identity import flat
from mixbench.record.claim import holder
from mixbench.record.read import directories
from mixbench.record.run import SavedRun
from mixbench.schema.train import Train


def standing(run: SavedRun) -> str:
    """finished, running (a process works on it), partial (it goes on from there), failed, missing or unreadable."""
    return "partial" if run.state == "interrupted" else run.state


def epochs_left(run: SavedRun, epochs: int) -> int:
    """How many of its epochs a run has to train yet, as far as its record tells; all of them after a failure."""
    if run.state == "finished":
        return 0
    return epochs - (run.epochs_done if run.state in ("running", "interrupted") else 0)


def progress(run: SavedRun, epochs: int) -> str:
    """In words, how far a run of so many epochs is that has begun, and who works on it; empty for the others."""
    if run.state not in ("running", "interrupted"):
        return ""
    by = f", by {owner}" if (owner := holder(run.directory)) else ""
    return f" ({run.epochs_done} of {epochs} epochs{by})"


class Pace:
    """Seconds per epoch, and those that a run takes besides, such as loading torch and the data: learnt from finished
    runs of the same data set, model and method, else without the method.
    """

    def __init__(self) -> None:
        self._rates: dict[tuple[str, ...], list[float]] = {}
        self._besides: dict[tuple[str, ...], list[float]] = {}

    @classmethod
    def below(cls, root: Path) -> Pace:
        """What the finished runs below a folder tell."""
        pace = cls()
        for directory in directories(root):
            run = SavedRun(directory)
            if run.state == "finished":
                pace.learn(run.values, run.summary)
        return pace

    def learn(self, config: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
        """Take a finished run into account: its values by their keys, and its summary, where that tells the times."""
        done = summary["selections"]["last"].get("epoch")  # fewer than planned, where it stopped early
        train, evaluation = summary.get("train_seconds"), summary.get("eval_seconds")
        if done is None or train is None or evaluation is None:
            return
        elapsed = _elapsed(summary)
        for kind in _kinds(config):
            self._rates.setdefault(kind, []).append((train + evaluation) / done)
            if elapsed is not None:
                self._besides.setdefault(kind, []).append(max(0.0, elapsed - train - evaluation))

    def seconds(self, config: Train, epochs: int) -> float:
        """Estimate for a run with so many epochs to go, in seconds; NaN where no finished run tells."""
        if not epochs or not self._rates:
            return math.nan if epochs else 0.0
        known = [kind for kind in _kinds(flat(config)) if kind in self._rates]
        if not known:
            return math.nan
        besides = next((self._besides[kind] for kind in known if kind in self._besides), [0.0])
        return statistics.fmean(self._rates[known[0]]) * epochs + statistics.median(besides)


def _kinds(config: Mapping[str, Any]) -> list[tuple[str, ...]]:
    place = tuple(
        str(config.get(key))
        for key in ("dataset", "model", "model.depth", "model.width", "dataset.train_size")
    )
    return [(*place, *(str(config.get(key)) for key in ("augment", "regularizer", "opt"))), place]


def _elapsed(summary: Mapping[str, Any]) -> float | None:
    """Seconds from the start of a run to its end; None where it may have rested in between, or nothing tells."""
    if summary.get("starts") != 1:
        return None
    try:
        ended, started = (datetime.fromisoformat(summary[key]) for key in ("ended", "started"))
        return (ended - started).total_seconds()
    except (KeyError, TypeError, ValueError):
        return None


def duration(seconds: float) -> str:
    """Seconds in words; an unknown time where no finished run tells."""
    if math.isnan(seconds):
        return "an unknown time"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 100 * 3600 else f"{seconds / 86400:,.0f} days"
