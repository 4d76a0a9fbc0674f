"""What is searched: keys and the values they may take, written as in Hydra's sweeps.

opt.rho=0.05,0.1,0.2                    one of these; also choice(...) and range(...)
opt.lr=interval(0.01, 0.3)              any number in between
opt.lr=tag(log, interval(0.001, 1))     the same, drawn on a logarithmic scale
batch_size=int(interval(32, 256))       a whole number, both ends included

Nothing here imports Optuna: a mistake in a search is reported before anything heavy starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Glob, IntervalSweep, Override, OverrideType, Transformer

from mixbench.config.overrides import check_count, read
from mixbench.errors import ConfigError


@dataclass(frozen=True)
class Choice:
    """A key that takes one of a few values, in a form that can stand on a command line."""

    key: str
    values: tuple[str, ...]

    def suggest(self, trial: Any) -> str:
        """The value that the Optuna trial has for the key."""
        return trial.suggest_categorical(self.key, self.values)

    def samples(self) -> tuple[str, ...]:
        """Values that stand for all when the search is checked: here all there are."""
        return self.values

    def __str__(self) -> str:
        return f"{self.key}: one of {', '.join(self.values)}"


@dataclass(frozen=True)
class Interval:
    """A key that takes any number from `low` to `high`; whole numbers where these are whole (int)."""

    key: str
    low: float
    high: float
    log: bool

    def suggest(self, trial: Any) -> float:
        """The value that the Optuna trial has for the key."""
        draw = trial.suggest_int if isinstance(self.low, int) else trial.suggest_float
        return draw(self.key, self.low, self.high, log=self.log)

    def samples(self) -> tuple[str, ...]:
        """Values that stand for all when the search is checked: the ends."""
        return repr(self.low), repr(self.high)

    def __str__(self) -> str:
        kind = "a whole number" if isinstance(self.low, int) else "a number"
        return f"{self.key}: {kind} from {self.low:g} to {self.high:g}{', logarithmic' if self.log else ''}"


Dimension = Choice | Interval


def parse(overrides: Sequence[str]) -> tuple[list[str], list[Dimension]]:
    """The overrides that every trial has, and the keys that are searched.

    Raises ConfigError for what cannot be read or searched, and where nothing is searched.
    """
    parsed = [read(override) for override in overrides]
    fixed = [o.input_line or "" for o in parsed if not o.is_sweep_override()]
    space = [_dimension(o) for o in parsed if o.is_sweep_override()]
    if not space:
        raise ConfigError(
            "nothing to search: give a key several values, such as opt.lr=0.01,0.1 or opt.lr=interval(0.01, 0.3)."
        )
    keys = [override.key_or_group for override in parsed]
    for dimension in space:
        if keys.count(dimension.key) > 1:
            raise ConfigError(f"{dimension.key}: is given twice; give all its values at once.")
    return fixed, space


def _dimension(override: Override) -> Dimension:
    given, key, value = override.input_line, override.key_or_group, override.value()
    if override.type is not OverrideType.CHANGE or override.package is not None:
        raise ConfigError(f"{given}: a search is over keys that exist; write KEY=VALUES.")
    if isinstance(value, Glob) or getattr(value, "shuffle", False):
        raise ConfigError(f"{given}: write the values out, such as {key}=A,B,C.")
    if not isinstance(value, IntervalSweep):
        check_count(override)
        # Hydra's range and choice; doubled values would count as two to the sampler.
        return Choice(key, tuple(dict.fromkeys(str(v) for v in override.sweep_iterator(Transformer.encode))))
    if value.start is None or value.end is None or not value.start < value.end:
        raise ConfigError(f"{given}: the first end must be below the second.")
    log = "log" in value.tags
    if log and value.start <= 0:
        raise ConfigError(f"{given}: a logarithmic scale needs ends > 0.")
    return Interval(key, value.start, value.end, log)
