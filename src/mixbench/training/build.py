"""From a typed config and loaded data to the training loop, on its device. Nothing else sees both."""

from __future__ import annotations

import dataclasses
import functools
import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from mixbench import data
from mixbench.augment import Mixup
from mixbench.augment.base import blend
from mixbench.data import Split, Splits
from mixbench.data.kinds import kind
from mixbench.data.order import batch_sizes, derived_seed
from mixbench.engine.at_once import AtOnce
from mixbench.engine.average import MovingAverage
from mixbench.engine.loop import Loop
from mixbench.engine.metrics import TrainMetrics
from mixbench.errors import ConfigError
from mixbench.losses import LOSSES
from mixbench.machine.devices import DTYPES, autocast
from mixbench.machine.memory import free_memory
from mixbench.machine.ranks import ALONE, Ranks
from mixbench.models.packed import Packed
from mixbench.optim.build import build_rule
from mixbench.schema.model import label
from mixbench.schema.train import Train
from mixbench.seams import Augment, Choosing, Examples, Rule
from mixbench.training.members import built, member, ours


def load_splits(config: Train, device: torch.device) -> Splits:
    """The data of a run on this device. Raises DataError where it is missing and cannot be had, or damaged."""
    loader = functools.partial(built, "dataset", config.dataset.name)
    return data.of_option(config.dataset, config.data_dir, device, loader)


def build_model(config: Train, device: torch.device, splits: Splits) -> nn.Module:
    """The network with the initial weights of the config's seed. Raises ConfigError where memory lacks room for it."""
    spec = splits.spec
    _check_room(config.model, device)
    torch.manual_seed(derived_seed("initial weights", config.seed))
    model = build_network(config.model.name, spec.shape, spec.num_classes, **knobs(config.model)).to(device)
    if config.channels_last:
        model = model.to(memory_format=torch.channels_last)
    if config.compile:
        # The forward alone, so that hooks on the model, which some rules select examples with, stay outside.
        model.forward = _compiled(model)
    return model


def _compiled(model: nn.Module) -> Callable[..., Tensor]:
    """The model's forward, compiled, without holding the model: as one of its attributes it would be a circle, in which
    the weights outlive a run until Python next looks for circles.
    """
    held = weakref.ref(model)
    forward = torch.compile(type(model).forward)

    def call(*arguments: Any) -> Tensor:
        return forward(held(), *arguments)

    return call


def _check_room(model: Any, device: torch.device) -> None:
    """Raise ConfigError for a network whose weights and gradients alone are more than the memory left."""
    number = model.least_weights() if hasattr(model, "least_weights") else 0
    free, whose = free_memory(device) if number > 10**9 else (math.inf, "")
    if 8 * number > free:
        raise ConfigError(
            f"model={label(model)}: has more than {number:,} weights; they and their gradients alone take"
            f" {8 * number / 2**30:,.1f} GiB, {whose} is {free / 2**30:.1f} GiB."
        )


def build_network(name: str, shape: Sequence[int], num_classes: int, **knobs: Any) -> nn.Module:
    """The network `name` for inputs of a shape, whose last axis counts channels, or columns, with random weights.

    Raises ConfigError where there is no such name, and for what a plugin's network is not.
    """
    return built("model", name, shape[-1], num_classes, **knobs)


def build_loop(config: Train, device: torch.device, splits: Splits, ranks: Ranks = ALONE) -> Loop:
    """The model, the data on the device and the three seams, as the training loop wants them."""
    model = build_model(config, device, splits)
    scaler = torch.amp.GradScaler(device.type) if config.precision == "fp16" else None
    rule = build_rule(
        config.opt.name,
        model,
        rule=functools.partial(built, "opt", config.opt.name),
        **knobs(config.opt),
        clip_norm=config.clip_norm,
        scaler=scaler,
        ranks=ranks,
    )
    mean, std = normalisation(config, splits)
    of = kind(splits.spec.kind)
    how = of.in_training(config.dataset, splits)
    if splits.streamed:  # each rank then reads its part
        how["ranks"] = ranks

    def examples(split: Split) -> Examples:
        return of.examples(
            split, mean=mean, std=std, device=device, channels_last=config.channels_last, **how
        )

    train_set = examples(splits.train)
    validation = examples(splits.val) if splits.val is not None else None
    augment = member("augment", config.augment.name)
    regularizer = member("regularizer", config.regularizer.name)
    own_blend = of.blend is not blend and getattr(augment, "uses_blend", False)
    blend_too = {"blend": of.blend} if own_blend else {}
    mean_too = {"mean_image": train_set.mean_input()} if regularizer.uses_mean_image else {}
    model_too = {"model": model} if augment.uses_model else {}
    mix = built(
        "augment",
        config.augment.name,
        splits.spec.num_classes,
        **model_too,
        **blend_too,
        **knobs(config.augment),
    )
    return Loop(
        model=model,
        augment=mix,
        objective=built("regularizer", config.regularizer.name, **mean_too, **knobs(config.regularizer)),
        rule=rule,
        loss=functools.partial(LOSSES[config.loss], label_smoothing=config.label_smoothing),
        # A ratio for each example: one for each batch of 128 alone spreads train_acc_mixed by 0.7 points over the 391
        # batches of CIFAR-10, and by 3.3 over 20 batches.
        mixup=Mixup(splits.spec.num_classes, alpha=1.0, per_sample=True, blend=of.blend),
        metrics=TrainMetrics(batch_sizes(len(train_set), config.batch_size, config.drop_last), device, ranks),
        train=train_set,
        test=examples(splits.test),
        validation=validation,
        average=MovingAverage(model, config.ema.decay) if config.ema.decay else None,
        learning_rate=functools.partial(_learning_rate, config),
        autocast=autocast(device, config.precision),
        at_once=AtOnce(model, DTYPES[config.precision]) if _may_work_at_once(config) else None,
        device=device,
        seed=config.seed,
        epochs=config.epochs,
        early_stopping=config.early_stopping,
        batch_size=config.batch_size,
        drop_last=config.drop_last,
        accumulate=config.accumulate,
        eval_batch_size=config.eval_batch_size,
        train_clean_every=config.train_clean_every,
        train_mixed_every=config.train_mixed_every,
        cuda_graph=graph_choice(config, device, mix, rule, model)[0],
        ranks=ranks,
    )


def _may_work_at_once(config: Train) -> bool:
    """Whether layers alone read their weights in a pass: a plugin may want them as they are, not in half precision, and
    a compiled network joins such operations itself.
    """
    alone = ours("model", config.model.name) and ours("regularizer", config.regularizer.name)
    return alone and not config.compile


def normalisation(config: Train, splits: Splits) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel or column: the config's, else those of the training part."""
    return kind(splits.spec.kind).normalisation(config.dataset, splits.train)


def graph_choice(
    config: Train, device: torch.device, augment: Augment, rule: Rule, model: nn.Module
) -> tuple[bool, str]:
    """Whether a step is recorded as a CUDA graph, and what to say about it; no words where the device has none."""
    if device.type != "cuda":
        return False, ""
    obstacles = {
        "cuda_graph=false": not config.cuda_graph,
        f"devices={config.devices}: the ranks exchange gradients within a step": config.devices > 1,
        # One that says what the host decides about it may ask the model.
        f"augment={config.augment.name} asks the model": augment.uses_model
        and not isinstance(augment, Choosing),
        "augment.solver=gco computes on the processor": getattr(config.augment, "solver", "") == "gco",
        f"opt={config.opt.name}: not all of its steps are alike": not rule.alike,
        "graphs are of all sizes": isinstance(model, Packed),
        # A second pass is to have the first one's masks, and a recording cannot go back to them.
        f"model={label(config.model)} has dropout": any(
            isinstance(m, _DropoutNd) and m.p for m in model.modules()
        ),
    }
    found = [reason for reason, given in obstacles.items() if given]
    return not found, f"steps one by one ({found[0]})" if found else "steps as a CUDA graph (cuda_graph=true)"


def _learning_rate(config: Train, progress: float) -> float:
    return config.opt.lr * built(
        "schedule", config.schedule.name, progress, config.epochs, **knobs(config.schedule)
    )


def knobs(option: Any) -> dict[str, Any]:
    """An option's knobs as keyword arguments: all its fields but the name."""
    return {k: v for k, v in dataclasses.asdict(option).items() if k != "name"}
