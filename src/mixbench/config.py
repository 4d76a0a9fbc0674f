"""From command-line overrides to one checked, typed config, and from that to the run's identity.

Nothing here imports torch: a mistake in a config is reported before anything heavy starts.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
import importlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from mixbench.errors import ConfigError
from mixbench.schema.knob import check
from mixbench.schema.train import GROUPS, Train
from mixbench.trust import check_composed, check_overrides

CONFIG_NAME = "train"
ALIASES = {"augmenter": "augment", "optimizer": "opt"}


def conf_dir() -> Path:
    """The folder of the YAML files: inside an installed wheel, else at the top of the repository."""
    package = Path(__file__).resolve().parent
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
    ConfigError for one that names code to call (see mixbench.trust).

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


def typed(config: DictConfig) -> Train:
    """The config as a `Train` dataclass with a dataclass in every group, all values checked.

    Raises ConfigError with one line for each value that is not allowed.
    """
    if "hydra" in config:
        config = copy.deepcopy(config)
        with read_write(config), open_dict(config):
            del config["hydra"]
    try:
        run = cast(Train, OmegaConf.to_object(config))
    except OmegaConfBaseException as error:  # of a reference to a key that is not there, or to itself
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}.") from None
    return checked(run)


def checked(run: Train) -> Train:
    """The run itself. Raises ConfigError with one line for each value that is not allowed."""
    problems = list(_problems(run))
    if problems:
        raise ConfigError("\n".join(problems))
    return run


def _problems(run: Train) -> Iterator[str]:
    untyped = [g for g in GROUPS if not dataclasses.is_dataclass(getattr(run, g))]
    if untyped:
        for group in untyped:
            yield (
                f"{group}: the option has no schema; its YAML file must start with"
                f" 'defaults: [/schema/{group}/<name>@_here_]'."
            )
        return
    problems = list(check(run))
    for group in GROUPS:
        option = getattr(run, group)
        name = type(option)().name if group != "dataset" else option.name
        if option.name != name:
            problems.append(f"{group}.name={option.name}: is fixed; choose another option with {group}=NAME.")
        problems += option.problems() if hasattr(option, "problems") else []
        problems += option.conflicts(run) if hasattr(option, "conflicts") else []
    yield from problems or _size_problems(run)


def _size_problems(run: Train) -> Iterator[str]:
    """What only shows when data set, model and batch size are seen together."""
    from mixbench.data.specs import SPECS
    from mixbench.schema.model import min_image_size

    spec, dataset = SPECS[run.dataset.name], run.dataset
    held_out = dataset.val_size or 0
    most = {
        "val_size": spec.train_size - 1,
        "train_size": spec.train_size - held_out,
        "test_size": spec.test_size,
    }
    for key, limit in most.items():
        if (getattr(dataset, key) or 0) > limit:
            rest = f" besides val_size={held_out}" if key == "train_size" and held_out else ""
            yield f"dataset.{key}={getattr(dataset, key)}: {spec.name} allows 1 to {limit}{rest}."
            return
    if run.batch_size % run.devices:
        yield (
            f"batch_size={run.batch_size}: is for all devices together, and devices={run.devices} does not divide it;"
            f" allowed: multiples of {run.devices}."
        )
    examples = dataset.train_size or spec.train_size - held_out
    if run.batch_size > examples:
        yield (
            f"batch_size={run.batch_size}: larger than the {examples} training images of {spec.name};"
            f" allowed: 1 to {examples}."
        )
    least, image = min_image_size(run.model), min(spec.image[:2])
    if image < least:
        yield (
            f"model.name={run.model.name}: needs images of at least {least} pixels with"
            f" model.stem_stride={run.model.stem_stride}; those of {spec.name} have {image}."
        )


def method(run: Train) -> str:
    """The run's method as a folder name: the seams that are not plain, e.g. `gmix-sam`, or `erm`."""
    augment, regularizer, opt = run.augment.name, run.regularizer.name, run.opt.name
    parts = [p for p in (augment, regularizer) if p != "none"]
    parts += [opt] if opt != "sgd" else []
    return "-".join(parts) or "erm"


def scientific(node: Any) -> dict[str, Any]:
    """The part of a config that decides what is measured, as plain containers.

    A knob at its schema default is left out, so a knob that is added later with a default (and does then what
    was done before) leaves the identity of earlier runs as it was. Names are always kept.
    """
    kept: dict[str, Any] = {}
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if not field.metadata.get("scientific", True):
            continue
        if dataclasses.is_dataclass(value):
            kept[field.name] = scientific(value)
        elif field.name == "name" or value != field.default:
            kept[field.name] = value
    return kept


def flat(run: Train, *, all_keys: bool = True) -> dict[str, Any]:
    """Values by the key that sets them on the command line: {"augment": "gmix", "augment.alpha": 0.5, ...}.

    `all_keys=False` leaves out those that do not decide the result, such as the device.
    """
    values: dict[str, Any] = {}
    for group in dataclasses.fields(run):
        option = getattr(run, group.name)
        for field, owner in (
            [(f, option) for f in dataclasses.fields(option)] if group.name in GROUPS else [(group, run)]
        ):
            key = field.name if owner is run else f"{group.name}.{field.name}".removesuffix(".name")
            if all_keys or all(f.metadata.get("scientific", True) for f in (group, field)):
                values[key] = getattr(owner, field.name)
    return values


def run_id(run: Train) -> str:
    """Twelve hexadecimal digits that name the scientific part of the config."""
    text = json.dumps(scientific(run), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def run_dir(run: Train) -> Path:
    """`<output_dir>/<dataset>/<model>/<method>/<id>`: the same science is the same directory."""
    from mixbench.schema.model import label

    return Path(run.output_dir).expanduser() / run.dataset.name / label(run.model) / method(run) / run_id(run)
