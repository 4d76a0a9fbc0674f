"""The loop written by hand, and SAM of a package, as subjects beside ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch
from torchvision.transforms import v2

from mixbench.bench import handmade
from mixbench.bench.packaged import packaged_subject
from mixbench.bench.subjects import Subject, made_up, subject
from mixbench.data import Splits
from mixbench.errors import ConfigError
from mixbench.schema.train import Train
from mixbench.training.build import build_model, normalisation

METHODS = ("ERM", "Mixup", "CutMix", "SAM", "G-Mix")


def beside(
    configs: Mapping[str, Train], device: torch.device, packaged: bool
) -> tuple[list[Subject], list[int], list[int | None]]:
    """For each method: ours, the loop written by hand as usual and as ours is, and for SAM, if `packaged`, that of
    pytorch_optimizer.

    Then for each subject the index of ours, which its ratio refers to; and, if it has SAM's two passes, that of ERM in
    the same loop, None where there is no such.
    """
    subjects, references = list[Subject](), list[int]()
    twice, erm = list[str | None](), dict[str, int]()  # twice: the loop of each subject of two passes
    for name, config in configs.items():
        ours = len(subjects)
        found = [("ours", subject(name, config, device)), ("usual", plain_subject(name, config, device))]
        if config.precision == "bf16" or (config.precision == "float32" and config.channels_last):
            found.append(("as ours", plain_subject(name, config, device, as_ours=True)))
        if packaged and config.opt.name == "sam":
            found.append(("ours", packaged_subject(name, config, device)))
        subjects += [each for _, each in found]
        references += [ours] * len(found)
        twice += [loop if config.opt.name == "sam" else None for loop, _ in found]
        if config.augment.name == "none" and config.opt.name == "sgd":
            erm = {loop: ours + i for i, (loop, _) in enumerate(found)}
    return subjects, references, [None if loop is None else erm.get(loop) for loop in twice]


def plain_subject(
    name: str, config: Train, device: torch.device, splits: Splits | None = None, as_ours: bool = False
) -> Subject:
    """The hand-written loop with the model, data, batch size and optimizer of `config`: in float32 and contiguous
    memory, as most code has it, or, to compare the loops alone, in the precision and memory format of `config`.

    Raises ConfigError for a method that the loop does not have.
    """
    dataset, opt = config.dataset, config.opt
    spec = dataset.spec()
    # torchvision's CIFAR100 makes colour pictures of its arrays.
    if spec.kind != "image" or spec.shape[-1] != 3:
        raise ConfigError(f"--loop plain: trains on colour images, not on {dataset.label()}.")
    splits = splits or made_up(spec)
    classes = splits.spec.num_classes
    mixes = {"none": None, "mixup": v2.MixUp, "cutmix": v2.CutMix}
    if (
        config.augment.name not in mixes
        or config.regularizer.name != "none"
        or opt.name not in ("sgd", "sam")
    ):
        raise ConfigError(f"--loop plain: has no {name}. It has {', '.join(METHODS)}.")
    if opt.name == "sam":
        for key, value in {"base": "sgd", "perturb": "all", "decay_in_ascent": False}.items():
            if (given := getattr(opt, key)) != value:
                given, value = str(given).lower(), str(value).lower()
                raise ConfigError(f"opt.{key}={given}: --loop plain has SAM with opt.{key}={value} alone.")
    mix = mixes[config.augment.name]
    precision = config.precision if as_ours else "float32"
    config = dataclasses.replace(config, compile=False, channels_last=as_ours and config.channels_last)
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
        f"{name}, plain loop: {precision}, {memory_format(config)}", steps, config.batch_size, 3 * weights
    )


def memory_format(config: Train) -> str:
    """Of images and convolutions, in a word."""
    return "channels_last" if config.channels_last else "contiguous"
