"""The runs of a report: what their directories say, and which of them differ in the seed alone."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixbench.errors import ConfigError, DataError
from mixbench.record.read import Row, directories, read_rows, read_summary
from mixbench.schema.train import GROUPS, Train
from mixbench.summarize.statistics import Estimate, estimate

# Runs that differ in one of these have nothing to say to each other, and are shown apart.
PLACE = ("dataset", "model", "epochs", "dataset.train_size", "dataset.test_size")
METHOD = ("augment", "regularizer", "opt")
SEAMS = tuple(f"{group}." for group in METHOD)
# Of the whole run; an epoch's row has its own under the same names.
TOTALS = ("train_seconds", "eval_seconds")


@dataclass(frozen=True)
class Run:
    """One run directory. `summary` holds at most an error, and `environment` nothing, where they cannot be read."""

    directory: Path
    summary: dict[str, Any]
    environment: dict[str, Any]

    @property
    def state(self) -> str:
        """finished, running, interrupted, failed or unreadable."""
        return str(self.summary.get("state", "unreadable"))

    @property
    def config(self) -> dict[str, Any]:
        """Values by the key that sets them on the command line."""
        return self.summary.get("config", {})

    @property
    def name(self) -> tuple[Any, ...]:
        """Data set, model, method and seed."""
        place = [self.summary.get(key, "?") for key in ("dataset", "model", "method")]
        return (*place, self.config.get("seed", "?"))

    @functools.cached_property
    def _read(self) -> tuple[list[Row], str]:
        """The rows, and what is wrong with them."""
        try:
            return [row for row in read_rows(self.directory) if "epoch" in row], ""
        except (OSError, DataError) as error:
            return [], str(error)

    @property
    def rows(self) -> list[Row]:
        """One row for each epoch that is done; empty where epochs.csv cannot be trusted."""
        return self._read[0]

    @property
    def error(self) -> str:
        """Why the run stopped, and which of its files is damaged; empty where all is well."""
        return "\n".join(filter(None, (str(self.summary.get("error") or ""), self._read[1])))

    def metric(self, key: str, select: str = "best_test") -> float:
        """A number of the selected epoch, or one of the whole run; NaN where there is none."""
        source = self.summary if key in TOTALS else self.summary.get("selections", {}).get(select, {})
        return float(source[key]) if is_number(source.get(key)) else math.nan

    @property
    def device(self) -> str:
        """The processor that trained it, in words."""
        name = "cpu" if self.environment.get("device") == "cpu" else "device_name"
        return str(self.environment.get(name, "unknown"))

    @property
    def commit(self) -> str:
        """What trained it: a commit, marked where files were changed since, or a version."""
        if not self.environment.get("commit"):
            return f"mixbench {self.environment.get('mixbench', 'unknown')}"
        changed = " with changes" if self.environment.get("uncommitted") else ""
        return str(self.environment["commit"])[:10] + changed


def collect(places: Sequence[Path]) -> list[Run]:
    """The runs in and below `places`, each once. Raises ConfigError for a place that does not exist."""
    found: dict[Path, Run] = {}
    for place in places:
        if not place.exists():
            raise ConfigError(f"{place}: no such folder; name run directories, or folders that hold some.")
        for directory in directories(place):
            found.setdefault(directory.resolve(), _read(directory))
    return sorted(found.values(), key=lambda run: [_sortable(v) for v in run.name])


def _read(directory: Path) -> Run:
    """A run of which nothing but numbers is left where numbers belong; without a summary if that makes no sense."""
    summary, environment = read_summary(directory) or {}, _json(directory / "env.json")
    given = summary.get("selections")
    summary["selections"] = {
        name: {key: value for key, value in row.items() if is_number(value)}
        for name, row in (given.items() if isinstance(given, dict) else ())
        if isinstance(row, dict)
    }
    whole = summary.get("state") != "finished" or {"last", "best_test"} <= summary["selections"].keys()
    if not whole or not isinstance(summary.get("config"), dict):
        summary = {"error": summary.get("error", "")}
    return Run(directory, summary, environment)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


# ---------------------------------------------------------------- settings


@dataclass(frozen=True)
class Setting:
    """Finished runs that differ in nothing but their seeds. `label` tells it from the others of its place."""

    runs: list[Run]
    config: dict[str, Any]  # what they share, of what decides the result
    label: str = ""

    @property
    def method(self) -> str:
        """The name of the method's folder, such as mixup-sam."""
        return str(self.runs[0].summary.get("method", "?"))

    @property
    def place(self) -> tuple[Any, ...]:
        """What has to be equal for two settings to be compared."""
        model = self.runs[0].summary.get("model", "?")
        return tuple(model if key == "model" else self.config.get(key) for key in PLACE)

    @property
    def title(self) -> str:
        """The place in words."""
        dataset, model, epochs, train, test = self.place
        sizes = [f"{n} {what} images" for n, what in ((train, "training"), (test, "test")) if n is not None]
        return ", ".join([str(dataset), str(model), f"{epochs} epochs", *sizes])

    def estimate(self, key: str, select: str = "best_test") -> Estimate:
        """Mean and sample standard deviation of a metric over the seeds."""
        return estimate([run.metric(key, select) for run in self.runs])


def settings(runs: Iterable[Run]) -> dict[str, list[Setting]]:
    """The finished ones of sorted `runs` as settings, by the title of their place, in the order of method and knobs."""
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        if run.state == "finished":
            shared = {k: v for k, v in run.config.items() if k not in _free()}
            grouped.setdefault(json.dumps(shared, sort_keys=True), []).append(run)
    places: dict[str, list[Setting]] = {}
    for key, group in grouped.items():
        setting = Setting(group, json.loads(key))
        places.setdefault(setting.title, []).append(setting)
    return {title: _labelled(found) for title, found in sorted(places.items())}


def _labelled(found: list[Setting]) -> list[Setting]:
    labelled = [dataclasses.replace(setting, label=label(setting, found)) for setting in found]
    return sorted(labelled, key=lambda s: (s.method, [_sortable(v) for v in s.config.values()]))


def label(setting: Setting, others: Sequence[Setting], without: str = "") -> str:
    """The setting's method, and the knobs, but for `without`, that tell it from the others of its place.

    The knobs of the three seams are compared within a method, all others, such as crop and flip, with every method.
    """
    known = [key for key in setting.config if key not in (*PLACE, *METHOD, without)]
    keys = []
    for key in sorted(known, key=lambda key: not key.startswith(SEAMS)):
        rivals = [s for s in others if s.method == setting.method] if key.startswith(SEAMS) else others
        if any(s.config.get(key) != setting.config[key] for s in rivals):
            keys.append(key)
    knobs = ", ".join(f"{key.rpartition('.')[2]} {short(setting.config[key])}" for key in keys)
    return f"{setting.method} {knobs}".strip()


def _sortable(value: Any) -> tuple[bool, float, str]:
    return not is_number(value), float(value) if is_number(value) else 0.0, str(value)


def is_number(value: Any) -> bool:
    """True for what has a place on an axis."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def short(value: Any) -> str:
    """A value as it is written on the command line, numbers with six digits."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


@functools.cache
def _free() -> frozenset[str]:
    """The keys that do not decide the result, and the seed."""
    fields = [("", field) for field in dataclasses.fields(Train)]
    for group in GROUPS:
        for schema in importlib.import_module(f"mixbench.schema.{group}").OPTIONS.values():
            fields += [(f"{group}.", field) for field in dataclasses.fields(schema)]
    free = [prefix + field.name for prefix, field in fields if not field.metadata.get("scientific", True)]
    return frozenset([*free, "seed"])
