"""Hydra's composition: from overrides to one untyped config, and what an override is.

Nothing here imports torch: a mistake in a config is reported before anything heavy starts.
"""

from __future__ import annotations

import copy
import functools
import importlib
from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf

from mixbench.config.trust import check_composed, check_overrides
from mixbench.schema.train import GROUPS

CONFIG_NAME = "train"


ALIASES = {"augmenter": "augment", "optimizer": "opt"}


def conf_dir() -> Path:
    """The folder of the YAML files: inside an installed wheel, else at the top of the repository."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parents[1] / "conf"


def register() -> None:
    """Make the typed schemas known to Hydra, as `schema/<group>/<name>`. Harmless when called again."""
    store = ConfigStore.instance()
    for group in (*GROUPS, "train"):
        options = importlib.import_module(f"mixbench.schema.{group}").OPTIONS
        for name, schema in options.items():
            store.store(
                group="schema" if group == "train" else f"schema/{group}",
                name=name,
                node=schema,
                provider="mixbench",
            )


def canonical(overrides: Sequence[str]) -> list[str]:
    """The overrides with the long group names `augmenter` and `optimizer` written as `augment` and `opt`."""

    def short(override: str) -> str:
        key, equals, value = override.partition("=")
        head, dot, rest = key.partition(".")
        return f"{ALIASES.get(head, head)}{dot}{rest}{equals}{value}"

    return [short(o) for o in overrides]


def compose_config(
    overrides: Sequence[str], config_dir: str | None = None, *, hydra: bool = False
) -> DictConfig:
    """The composed config, unchecked; with the `hydra` node when asked. Raises Hydra's own exceptions, and
    ConfigError for one that names code to call (see mixbench.config.trust).

    `config_dir` is a user's folder with groups of their own, searched besides ours.
    """
    check_overrides(overrides)
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    if hydra or config_dir or not all(_is_plain(o) for o in parsed):
        extra = [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"] if config_dir else []
        return _composed_by_hydra((*overrides, *extra), hydra)
    # Our option files set nothing outside their own group, so groups compose one by one, each once, and values are
    # set on a copy, as Hydra does it: 5 ms for a table's cell, where composing it anew takes 50.
    config = copy.deepcopy(_root())
    for override in parsed:
        if override.key_or_group in GROUPS:
            option = _option(override.key_or_group, str(override.value()))
            config[override.key_or_group] = copy.deepcopy(option)
    for override in parsed:
        if override.key_or_group not in GROUPS:
            OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
    return config


def is_change(override: Override) -> bool:
    """True for a plain `key=value` with one value: nothing is added, deleted, swept, or put elsewhere."""
    return (
        override.type is OverrideType.CHANGE and override.package is None and not override.is_sweep_override()
    )


def is_choice(override: Override) -> bool:
    """True for the choice of an option in one of our groups; a dictionary there changes the chosen one's values."""
    return is_change(override) and override.key_or_group in GROUPS and isinstance(override.value(), str)


def _is_plain(override: Override) -> bool:
    """True for a choice in one of our groups, and for a value of a key."""
    key = override.key_or_group
    if key in GROUPS:
        return is_choice(override)
    return is_change(override) and "/" not in key and key.partition(".")[0] != "hydra"


def _composed_by_hydra(overrides: Sequence[str], hydra: bool = False) -> DictConfig:
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(CONFIG_NAME, list(overrides), return_hydra_config=hydra)
    check_composed(config)
    return config


@functools.cache
def _root() -> DictConfig:
    return _composed_by_hydra(())


@functools.cache
def _option(group: str, name: str) -> DictConfig:
    return _composed_by_hydra((f"{group}={name}",))[group]
