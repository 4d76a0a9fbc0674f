"""The configs of many cells that differ in few values, a hundred times faster than composing each anew."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Sequence
from typing import Any, cast

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, RangeSweep
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mixbench.config.check import checked, typed
from mixbench.config.compose import is_change, is_choice
from mixbench.config.explain import composed
from mixbench.errors import ConfigError
from mixbench.schema.train import GROUPS, Train

MOST_CELLS = 1_000_000


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """The cells of a sweep, as lists of overrides, in the order in which Hydra's own sweeper runs them.

    Raises ConfigError for what cannot be read, for ranges without steps, which only a search can use, and for more
    than MOST_CELLS.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        cells = math.prod(map(_count, parsed))
        if cells > MOST_CELLS:
            raise ConfigError(
                f"a sweep over {cells:,} cells: at most {MOST_CELLS:,} can be listed and checked at once."
            )
        return BasicSweeper.split_arguments(parsed, None)[0]
    except OverrideParseException as error:
        raise ConfigError(
            f"{error.override}: cannot be read as key=value: {str(error).splitlines()[0]}"
        ) from None
    except HydraException:
        swept = [o for o in parsed if o.is_sweep_override()]
        endless = next(o for o in swept if not o.is_discrete_sweep() or isinstance(o.value(), Glob))
        raise ConfigError(
            f"{endless.input_line}: a sweep needs single values, such as a=1,2 or a=range(1,5)."
        ) from None


def _count(override: Override) -> int:
    """The values of a sweep; 1 for what is none, or has no end."""
    value = override.value()
    if isinstance(value, RangeSweep) and value.start is not None and value.stop is not None:
        return max(1, math.ceil((value.stop - value.start) / value.step))
    return len(value.list) if isinstance(value, ChoiceSweep) else 1


def of_hydra(override: str) -> bool:
    """True for an override of Hydra's own config, which says how a sweep is run and not what a cell is."""
    return override.lstrip("+~").startswith(("hydra.", "hydra/"))


class Composer:
    """The checked config of a cell, exactly as Hydra composes it: 0.2 ms where Hydra takes 40.

    What a cell chooses in the groups is composed once, and each value is converted by the schema once; a cell is a
    copy with its values set. That is what Hydra does, too, as long as no value refers to another. A cell with an
    interpolation, or with overrides that are neither choices nor values, is composed by Hydra itself.
    """

    def __init__(self, config_dir: str | None = None) -> None:
        self.config_dir = config_dir
        self._parsed = functools.cache(OverridesParser.create().parse_override)
        self._base = functools.cache(self._compose)
        self._values: dict[tuple[type, str], Any] = {}  # by the schema that converts them, and the override

    def __call__(self, overrides: Sequence[str]) -> Train:
        """The config of a cell. Raises ConfigError for what does not compose, or is not allowed."""
        own = [o for o in overrides if not of_hydra(o)]
        try:
            run = self._changed(own)
        except (ConfigError, HydraException, OmegaConfBaseException):
            run = None  # Hydra says what is wrong
        return checked(run) if run is not None else typed(composed(own, self.config_dir))

    def _changed(self, overrides: Sequence[str]) -> Train | None:
        """The config with its values set on a copy; None where only Hydra can tell."""
        parsed = [self._parsed(o) for o in overrides]
        values = [o for o in parsed if _is_value(o)]
        choices = tuple(o for o, p in zip(overrides, parsed, strict=True) if is_choice(p))
        if len(values) + len(choices) < len(overrides):
            return None
        base = self._base(choices)[1]
        if base is None:
            return None
        run = copy.copy(base)
        copied: dict[str, Any] = {"": run}
        for override in values:
            group, _, key = override.key_or_group.rpartition(".")
            if group not in copied:
                copied[group] = copy.copy(getattr(run, group))
                setattr(run, group, copied[group])
            setattr(copied[group], key, self._value(choices, type(copied[group]), override.input_line or ""))
        return run

    def _compose(self, choices: tuple[str, ...]) -> tuple[DictConfig, Train | None]:
        """The config of these choices as Hydra has it, and as a dataclass unless some value refers to another."""
        config = composed(choices, self.config_dir)
        refers = "${" in OmegaConf.to_yaml(config)
        return config, None if refers else cast(Train, OmegaConf.to_object(config))

    def _value(self, choices: tuple[str, ...], schema: type, line: str) -> Any:
        """The value of one override, converted and refused as the schema of its key says."""
        if (schema, line) not in self._values:
            config, override = copy.deepcopy(self._base(choices)[0]), self._parsed(line)
            OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
            value = OmegaConf.select(config, override.key_or_group)
            self._values[schema, line] = OmegaConf.to_object(value) if OmegaConf.is_config(value) else value
        return self._values[schema, line]


def _is_value(override: Override) -> bool:
    """True for a plain value of a key of the run, or of an option."""
    group, _, key = override.key_or_group.rpartition(".")
    known = group in GROUPS if group else key not in GROUPS and "/" not in key
    return is_change(override) and known and not set("${") & set(override.input_line or "")
