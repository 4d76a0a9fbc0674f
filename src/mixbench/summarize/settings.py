"""The runs below some folders: what their directories say, and which of them only repeat each other."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixbench.config.identity import repetitions, shipped_knobs
from mixbench.errors import ConfigError, DataError
from mixbench.record.read import Row, directories, read_rows, without_collections
from mixbench.record.run import SavedRun, is_number
from mixbench.schema.methods import known_as
from mixbench.summarize.statistics import Estimate, estimate

# Runs that differ in one of these have nothing to say to each other, and are shown apart.
PLACE = ("dataset", "model", "epochs", "dataset.train_size", "dataset.test_size")
METHOD = ("augment", "regularizer", "opt")
# Of a run's time: so much of a processor may have worked on something else.
ELSEWHERE = 0.05
CHECKSUM_SHOWN = 8  # digits of a checksum in a label or a column
SEAMS = tuple(f"{group}." for group in METHOD)


class Run(SavedRun):
    """A run as pages and comparisons show it: `error` names what cannot be trusted, and nothing of that is shown."""

    @property
    def name(self) -> tuple[Any, ...]:
        """Data set, model, method and seed."""
        place = [self.summary.get(key, "?") for key in ("dataset", "model", "method")]
        return (*place, self.values.get("seed", "?"))

    @property
    def repetition(self) -> Any:
        """What tells the run from others of its setting: the seed, or seed/fold where the data have folds."""
        found = [self.values[key] for key in repetitions() if key in self.values]
        return found[0] if len(found) == 1 else "/".join(map(str, found)) or "?"

    @property
    def method(self) -> str:
        """The method as people say it, such as G-Mix; the name of its folder, such as mixup-asam, where it has none."""
        title = known_as(*(str(self.values.get(key)) for key in METHOD))
        return title.rpartition(" (")[0] or str(self.summary.get("method", "?"))

    @functools.cached_property
    def alone(self) -> bool:
        """Whether every epoch says that hardly anything else ran on the machine: only then its times are its own."""
        rows = self.rows
        others, *times = (
            [float(row[key]) if is_number(row.get(key)) else math.nan for row in rows]
            for key in ("other_cpu_seconds", "train_seconds", "eval_seconds")
        )
        # NaN, where an epoch does not say, is not less than anything.
        return bool(rows) and math.fsum(others) <= ELSEWHERE * sum(map(math.fsum, times))

    @property
    def rows(self) -> list[Row]:
        """One row for each epoch that is done; empty where epochs.csv cannot be trusted.

        Read anew each time: those of 10,000 runs together would fill the memory.
        """
        try:
            return read_rows(self.directory, self.summary)
        except DataError:
            return []

    @property
    def epochs_done(self) -> int:
        """The number of rows, 0 where they cannot be trusted."""
        return self._found[0]

    @property
    def error(self) -> str:
        """Why the run stopped, and which of its files is damaged; empty where all is well."""
        return "\n".join(filter(None, (super().error, self._found[1])))

    @functools.cached_property
    def _found(self) -> tuple[int, str]:
        """The number of rows, and what is wrong with them."""
        try:
            return len(read_rows(self.directory, self.summary)), ""
        except DataError as damage:
            return 0, str(damage)


def collect(places: Sequence[Path], skipped: list[str] | None = None) -> list[Run]:
    """The runs in and below `places`, each once; a line about each folder that cannot be read is added to `skipped`.

    Raises ConfigError for a place that does not exist.
    """
    found: dict[Path, Run] = {}
    for place in places:
        if not place.exists():
            raise ConfigError(f"{place}: no such folder; name run directories, or folders that hold some.")
        for directory in directories(place, skipped):
            found.setdefault(directory.resolve(), Run(directory))
    with without_collections():
        return sorted(found.values(), key=lambda run: [_sortable(v) for v in (*run.name, run.repetition)])


# ---------------------------------------------------------------- settings


@dataclass(frozen=True)
class Setting:
    """Finished runs that differ in nothing but their seeds and folds. `label` tells it from the others of its place."""

    runs: list[Run]
    config: dict[str, Any]  # what they share, of what decides the result
    label: str = ""

    @property
    def method(self) -> str:
        """The name of the method's folder, such as mixup-sam."""
        return str(self.runs[0].summary.get("method", "?"))

    def said(self, label: str = "") -> str:
        """A label of this setting, or its own, with the method as people say it: "G-Mix rho 0.5", not mixup-sam."""
        return self.runs[0].method + (label or self.label).removeprefix(self.method)

    @property
    def place(self) -> tuple[Any, ...]:
        """What has to be equal for two settings to be compared."""
        # Data set and model go by the names of the folders: of one's own pictures the option says "folder" alone.
        named = {key: self.runs[0].summary.get(key, "?") for key in ("dataset", "model")}
        return tuple(named.get(key, self.config.get(key)) for key in PLACE)

    @property
    def title(self) -> str:
        """The place in words."""
        dataset, model, epochs, train, test = self.place
        sizes = [f"{n} {what} images" for n, what in ((train, "training"), (test, "test")) if n is not None]
        return ", ".join([str(dataset), str(model), f"{epochs} epochs", *sizes])

    def estimate(self, key: str, select: str = "best_test") -> Estimate:
        """Mean and sample standard deviation of a metric over the seeds and folds."""
        return estimate([run.metric(key, select) for run in self.runs])


def repeated_over(found: Sequence[Setting]) -> str:
    """Over what the runs of these settings are averaged, in words: "seeds", or "seeds and folds"."""
    keys = [key for key in repetitions() if any(key in run.values for s in found for run in s.runs)]
    return " and ".join(f"{key.rpartition('.')[2]}s" for key in keys) or "seeds"


def settings(runs: Iterable[Run]) -> dict[str, list[Setting]]:
    """The finished ones of sorted `runs` as settings, by the title of their place, in the order of method and knobs."""
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        if run.state == "finished":
            shared = {k: v for k, v in run.values.items() if k not in _free()}
            grouped.setdefault(json.dumps(shared, sort_keys=True), []).append(run)
    places: dict[str, list[Setting]] = {}
    for key, group in grouped.items():
        setting = Setting(group, json.loads(key))
        places.setdefault(setting.title, []).append(setting)
    return {title: _labelled(found) for title, found in sorted(places.items())}


def _labelled(found: list[Setting]) -> list[Setting]:
    labels = Labels(found)
    labelled = [dataclasses.replace(setting, label=labels.of(setting)) for setting in found]
    return sorted(labelled, key=lambda s: (s.method, [_sortable(v) for v in s.config.values()]))


class Labels:
    """What tells the settings of a place from each other."""

    def __init__(self, settings: Sequence[Setting]) -> None:
        self._all, self._of_method = settings, dict[str, list[Setting]]()
        for setting in settings:
            self._of_method.setdefault(setting.method, []).append(setting)
        self._varies = functools.cache(self._look)

    def of(self, setting: Setting, without: str = "") -> str:
        """The method of one of the settings, and the knobs, but for `without`, that tell it from the others.

        The knobs of the three seams are compared within a method, all others, such as crop and flip, with every method.
        """
        known = [key for key in setting.config if key not in (*PLACE, *METHOD, without)]
        keys = [
            key
            for key in sorted(known, key=lambda key: not key.startswith(SEAMS))
            if self._varies(key, setting.method if key.startswith(SEAMS) else None)
        ]
        knobs = ", ".join(f"{key.rpartition('.')[2]} {told(setting.config[key])}" for key in keys)
        return f"{setting.method} {knobs}".strip()

    def _look(self, key: str, method: str | None) -> bool:
        """Whether a knob has several values among the settings of a method, or among all."""
        first, *others = [
            s.config.get(key) for s in (self._all if method is None else self._of_method[method])
        ]
        return any(value != first for value in others)


def _sortable(value: Any) -> tuple[bool, float, str]:
    return not is_number(value), float(value) if is_number(value) else 0.0, str(value)


def short(value: Any) -> str:
    """A value as it is written on the command line, numbers with six digits."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def told(value: Any) -> str:
    """A value in a label or a column: of a checksum as much as tells a few of them apart."""
    return short(value)[:CHECKSUM_SHOWN] if is_checksum(value) else short(value)


def is_checksum(value: Any) -> bool:
    """Whether it is a SHA-256, such as that of a data set."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


@functools.cache
def _free() -> frozenset[str]:
    """The keys that do not decide the result, and those that only repeat it."""
    knobs = shipped_knobs().items()
    free = [key for key, fields in knobs if not all(f.metadata.get("scientific", True) for f in fields)]
    return frozenset([*free, *repetitions()])
