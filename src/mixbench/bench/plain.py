"""The loop written by hand as a subject, beside ours."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torchvision.transforms import v2

from mixbench.bench import handmade
from mixbench.bench.subjects import Subject, made_up
from mixbench.data import Splits
from mixbench.errors import ConfigError
from mixbench.schema.train import Train
from mixbench.training.build import build_model, normalisation

METHODS = ("ERM", "Mixup", "CutMix", "SAM", "G-Mix")


def plain_subject(
    name: str, config: Train, device: torch.device, splits: Splits | None = None, precision: str = "float32"
) -> Subject:
    """The hand-written loop with the model, data, batch size and optimizer of `config`: in float32 and torch's default
    memory format as most code has it, or, to compare the loops alone, in bf16 and the format of `config`.

    Raises ConfigError for a method that the loop does not have.
    """
    dataset, opt = config.dataset, config.opt
    if dataset.spec().kind != "image":
        raise ConfigError(f"--loop plain: trains on images, not on {dataset.label()}.")
    splits = splits or made_up(dataset.spec())
    classes = splits.spec.num_classes
    mixes = {"none": None, "mixup": v2.MixUp, "cutmix": v2.CutMix}
    if (
        config.augment.name not in mixes
        or config.regularizer.name != "none"
        or opt.name not in ("sgd", "sam")
    ):
        raise ConfigError(f"--loop plain: has no {name}. It has {', '.join(METHODS)}.")
    mix = mixes[config.augment.name]
    equal = precision != "float32"
    config = dataclasses.replace(config, compile=False, channels_last=equal and config.channels_last)
    batches = handmade.loader(
        np.asarray(splits.train.inputs),
        splits.train.labels.tolist(),
        *normalisation(config, splits),
        batch_size=config.batch_size,
        crop_padding=dataset.crop_padding if dataset.base_augment else 0,
        flip=dataset.flip and dataset.base_augment,
        device=device,
    )
    model = build_model(config, device, splits)
    steps = handmade.steps(
        model,
        batches,
        device,
        mix=None if mix is None else mix(alpha=config.augment.alpha, num_classes=classes),
        rho=opt.rho if opt.name == "sam" else None,
        lr=opt.lr,
        momentum=opt.momentum,
        weight_decay=opt.weight_decay,
        precision=precision,
        memory_format=torch.channels_last if config.channels_last else torch.preserve_format,
    )
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    return Subject(
        f"{name}, plain loop{f', {precision}' if equal else ''}", steps, config.batch_size, 3 * weights
    )
