"""From a composed config to checked dataclasses."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from mixbench.config import plugins
from mixbench.config.options import given, options
from mixbench.errors import ConfigError
from mixbench.inventory import looking_once, remembered_of
from mixbench.inventory.arithmetic import precision
from mixbench.inventory.weights import look
from mixbench.schema.augment import NUMBERS
from mixbench.schema.examples import Dataset
from mixbench.schema.knob import MISSING, check
from mixbench.schema.model import min_image_size
from mixbench.schema.specs import DataSpec
from mixbench.schema.train import GROUPS, Train


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
    """The run, with what its data and this machine tell filled in.

    Raises ConfigError with one line for each value that is not allowed, DataError for damaged data.
    """
    with looking_once(), plugins.schemas_in_words():
        if isinstance(run.dataset, Dataset):
            dataset = remembered_of(
                run.dataset, f"resolved in {run.data_dir}", lambda: run.dataset.resolved(run.data_dir)
            )
            if dataset != run.dataset:
                run = dataclasses.replace(run, dataset=dataset)
        run = _with_weights(run)
        if run.precision == "auto":
            run = dataclasses.replace(run, precision=precision(str(run.device))[0])
        problems = list(_problems(run))
    if problems:
        raise ConfigError("\n".join(problems))
    return run


def _with_weights(run: Train) -> Train:
    """The run with the checksum of the weights that it begins with, which are in its identity by nothing else.

    Raises ConfigError for weights that are others than `init_content` says, or are gone; a saved run goes on without.
    """
    if run.init_from is None:
        if run.init_content is not None:
            raise ConfigError(
                "init_content: is the checksum of the weights that init_from=RUN names; give that too."
            )
        return run
    try:
        path, content = look(run.init_from)
    except ConfigError:
        if run.init_content is None:
            raise
        return run
    if run.init_content not in (None, content):
        raise ConfigError(
            f"init_content={run.init_content}: the weights in {path} are others, with the SHA-256 {content}; leave"
            " init_content out to begin with them, which is another run."
        )
    return dataclasses.replace(run, init_from=path, init_content=content)


def _problems(run: Train) -> Iterator[str]:
    untyped = [g for g in GROUPS if not dataclasses.is_dataclass(getattr(run, g))]
    if untyped:
        for group in untyped:
            yield (
                f"{group}: the option has no schema; its YAML file must start with"
                f" 'defaults: [/schema/{group}/<name>@_here_]'."
            )
        return
    problems = list(check(run, nested=_of_values))
    for group in GROUPS:
        option = getattr(run, group)
        problems += _of_option(group, option)
        problems += option.conflicts(run) if hasattr(option, "conflicts") else []
    if problems or not run.dataset.present():
        yield from problems
    else:
        yield from size_problems(run, run.dataset.spec())


def _of_values(option: Any, prefix: str) -> list[str]:
    return remembered_of(option, "values", lambda: list(check(option, prefix)))


def _of_option(group: str, option: Any) -> list[str]:
    """What is wrong with an option whatever else the run has."""

    def problems() -> Iterator[str]:
        if type(option)().name not in (option.name, MISSING):
            yield f"{group}.name={option.name}: is fixed; choose another option with {group}=NAME."
        yield from option.problems() if hasattr(option, "problems") else []

    return remembered_of(option, "problems", lambda: list(problems()))


def _kind_problems(run: Train, spec: DataSpec) -> Iterator[str]:
    """Options that do not take the kind of inputs that the data set has."""
    for group in ("model", "augment", "regularizer"):
        option = getattr(run, group)
        kinds = _kinds(group, option)
        if kinds is not None and spec.kind not in kinds:
            yield (
                f"{group}={given(group, option)}: takes inputs of kind {' or '.join(kinds)}; those of {spec.name} are"
                f" of kind {spec.kind}. Allowed: {', '.join(_taking(group, spec.kind))}."
            )


def _kinds(group: str, option: Any) -> Sequence[str] | None:
    """The kinds of inputs that an option takes; None: any."""
    return getattr(option, "kinds", None) or (NUMBERS if group == "augment" else None)


def _taking(group: str, kind: str) -> list[str]:
    """The options of a group that take inputs of a kind."""
    every = {option.name: _kinds(group, option.schema) for option in options(group)}
    return [name for name, kinds in every.items() if kinds is None or kind in kinds]


def size_problems(run: Train, spec: DataSpec) -> Iterator[str]:
    """What only shows when data set, model and batch size are seen together, for a set like `spec`."""
    dataset = run.dataset
    unfit = list(_kind_problems(run, spec))
    if unfit:
        yield from unfit
        return
    held_out = dataset.held_out()
    most = {
        "val_size": spec.train_size - 1,
        "train_size": spec.train_size - held_out,
        "test_size": spec.test_size,
    }
    for key, limit in most.items():
        if (getattr(dataset, key, None) or 0) > limit:
            rest = f" besides val_size={held_out}" if key == "train_size" and held_out else ""
            yield f"dataset.{key}={getattr(dataset, key)}: {spec.name} allows 1 to {limit}{rest}."
            return
    if run.early_stopping and not held_out:
        yield (f"early_stopping={run.early_stopping}: looks at validation accuracy; {dataset.holds_out}.")
    if run.keep != "last" and not held_out:
        yield (f"keep={run.keep}: goes by validation accuracy; {dataset.holds_out}.")
    yield from _batch_problems(run, spec, getattr(dataset, "train_size", None) or spec.train_size - held_out)
    if spec.kind == "image" and (image := min(spec.shape[:2])) < (least := min_image_size(run.model)):
        stride = getattr(run.model, "stem_stride", None)
        stem = "" if stride is None else f" with model.stem_stride={stride}"
        yield (
            f"model={given('model', run.model)}: needs images of at least {least} pixels{stem}; those of {spec.name}"
            f" have {image}."
        )


def _batch_problems(run: Train, spec: DataSpec, examples: int) -> Iterator[str]:
    """Batches of so many training examples that cannot be had, or cannot be cut into equal parts."""
    if run.batch_size % run.devices:
        yield (
            f"batch_size={run.batch_size}: is for all devices together, and devices={run.devices} does not divide it;"
            f" allowed: multiples of {run.devices}."
        )
        return
    if run.batch_size > examples and run.drop_last:
        yield (
            f"batch_size={run.batch_size}: larger than the {examples} training examples of {spec.name};"
            f" allowed: 1 to {examples}, or any with drop_last=false."
        )
        return
    parts = run.devices * run.accumulate
    if run.batch_size % parts:
        yield (
            f"accumulate={run.accumulate}: must divide the {run.batch_size // run.devices} examples of a batch"
            f"{' on each device' if run.devices > 1 else ''}."
        )
        return
    last = 0 if run.drop_last else examples % run.batch_size
    if last % parts:
        yield (
            f"drop_last=false: the last batch has {last} examples, which cannot be cut into {parts} equal parts"
            f" (devices={run.devices}, accumulate={run.accumulate}); allowed: another batch_size or"
            " dataset.train_size, or drop_last=true."
        )
