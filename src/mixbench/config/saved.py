"""The config.yaml of a saved run as the typed config."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mixbench.config.check import typed
from mixbench.config.trust import check_composed
from mixbench.errors import ConfigError
from mixbench.schema.train import GROUPS, Train


def saved_config(path: Path) -> Train:
    """The config in the file `path`. Raises ConfigError naming the file, and what does not fit in it."""
    try:
        saved = OmegaConf.load(path)
        if not isinstance(saved, DictConfig):
            raise TypeError("it is no mapping")
        schemas = {group: _schema(group, saved[group].name) for group in GROUPS}
        merged = OmegaConf.merge(OmegaConf.structured(Train), schemas, saved)
    except (
        OSError,
        ValueError,
        YAMLError,
        OmegaConfBaseException,
        TypeError,
        KeyError,
        AttributeError,
    ) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    try:
        assert isinstance(merged, DictConfig)
        check_composed(merged)
        return typed(merged)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _schema(group: str, name: str) -> Any:
    """The schema of the group's option of this name."""
    options = importlib.import_module(f"mixbench.schema.{group}").OPTIONS
    return options["images" if group == "dataset" else name]
