"""Trackers show the epoch rows of a run in other tools. They are fed from the record and can never stop a run.

A tracker is built with `directory` (the run's), `key` (names this run and all its resumes), `title` and `config`
(values by key), and its own knobs. `log(row)` takes an epoch's row, again after a resume; `close(state)` ends with
finished, interrupted or failed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import importlib.util
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mixbench.config.identity import flat, method
from mixbench.errors import ConfigError
from mixbench.machine.signals import Interrupted
from mixbench.record.read import Row
from mixbench.record.run import SavedRun
from mixbench.record.write import OpenRecord
from mixbench.schema.model import label
from mixbench.schema.train import Train

log = logging.getLogger("mixbench")

# Module of this package and class; imported only when chosen, as they import the tools.
TRACKERS = {
    "tensorboard": ("tensorboard", "TensorBoard"),
    "wandb": ("wandb", "WandB"),
    "mlflow": ("mlflow", "MLflow"),
}


def require(name: str) -> None:
    """Raise ConfigError naming what to install where the package of the tracker `name` is missing."""
    if name == "none":
        return
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:  # no origin: a folder of this name, such as wandb makes
        raise ConfigError(f"tracker={name}: the package is not installed; pip install 'mixbench[{name}]'.")


@contextlib.contextmanager
def tracked(config: Train, record: OpenRecord, rows: Sequence[Row]) -> Iterator[Callable[[Row], None]]:
    """Yield what takes each new row of the run; `rows` are those of earlier starts."""
    tracker = _begun(config, record, rows)
    state = "failed"
    try:
        yield lambda row: tracker.call("log", row)
        state = "finished"
    except (Interrupted, KeyboardInterrupt, SystemExit):
        state = "interrupted"
        raise
    finally:
        tracker.call("close", state)


def export(config: Train, record: OpenRecord, rows: Sequence[Row]) -> bool:
    """Send the `rows` of a finished run; False where the tracker failed, which has been reported then.

    A tracker that has them already is left, or shows, as it was.
    """
    tracker = _begun(config, record, rows)
    tracker.call("close", "finished")
    return tracker.tracker is not None


def _begun(config: Train, record: OpenRecord, rows: Sequence[Row]) -> _Guarded:
    """The tracker that the config names, with all rows so far."""
    tracker = _Guarded(config.tracker.name)
    if config.tracker.name != "none":
        tracker.start(lambda: _build(config, record))
    for row in rows:
        tracker.call("log", row)
    return tracker


def _build(config: Train, record: OpenRecord) -> Any:
    module, name = TRACKERS[config.tracker.name]
    knobs = {k: v for k, v in dataclasses.asdict(config.tracker).items() if k != "name"}
    return getattr(importlib.import_module(f"mixbench.tracking.{module}"), name)(
        directory=record.directory,
        key=_key(record),
        title=f"{config.dataset.label()} {label(config.model)} {method(config)} seed {config.seed}",
        config=flat(config),
        **knobs,
    )


def _key(record: OpenRecord) -> str:
    """Twelve hexadecimal digits: the same for all resumes of a run, another when it starts over with force=true."""
    started = SavedRun(record.directory).summary.get("started", "")
    return hashlib.sha256(f"{record.id} {started}".encode()).hexdigest()[:12]


class _Guarded:
    """A tracker whose first error is reported, and which is then left alone."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tracker: Any = None

    def start(self, build: Callable[[], Any]) -> None:
        with self._reported():
            self.tracker = build()

    def call(self, method: str, argument: Any) -> None:
        if self.tracker is not None:
            with self._reported():
                getattr(self.tracker, method)(argument)

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.tracker = None
            log.warning(
                f"tracker  {self.name} failed and is off from here; the run and its record go on:"
                f" {type(error).__name__}: {error}"
            )
