"""What is measured: a training loop that gives one step after another, for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mixbench.config.compose import compose
from mixbench.data import Split, Splits
from mixbench.engine.loop import Loop
from mixbench.engine.position import Position
from mixbench.engine.progress import Progress
from mixbench.errors import ConfigError
from mixbench.schema.knob import nearest
from mixbench.schema.specs import DataSpec
from mixbench.schema.train import Train
from mixbench.training.build import build_loop

# The first one is what the others are compared with.
METHODS: dict[str, list[str]] = {
    "ERM": ["augment=none"],
    "Mixup": ["augment=mixup"],
    "CutMix": ["augment=cutmix"],
    "Mixup & CutMix": ["augment=mixup_cutmix"],
    "HMix": ["augment=hmix"],
    "GMix": ["augment=gmix"],
    "PuzzleMix": ["augment=puzzlemix"],
    "Manifold Mixup": ["augment=manifold_mixup"],
    "MixupE": ["augment=mixup", "regularizer=mixupe"],
    "MixupE, batched": ["augment=mixup", "regularizer=mixupe", "regularizer.forward=batched"],
    "MixupE, exact": ["augment=mixup", "regularizer=mixupe", "regularizer.variant=exact"],
    "SAM": ["opt=sam"],
    "ASAM": ["opt=asam"],
    "GSAM": ["opt=gsam"],
    "LookSAM": ["opt=looksam"],
    "G-Mix": ["augment=mixup", "opt=sam"],
    "BG-Mix": ["augment=mixup", "opt=bgmix"],
    "BG-Mix, subset": ["augment=mixup", "opt=bgmix", "opt.compute=subset"],
    "DG-Mix": ["augment=mixup", "opt=dgmix"],
    "DG-Mix, logit": ["augment=mixup", "opt=dgmix", "opt.decompose=logit"],
}
IMAGES = 10_000  # made-up ones: enough that batches come from memory, not from the processor's cache


@dataclass(frozen=True)
class Subject:
    """A loop to measure. Every `next(steps)` is one training step of `batch_size` images."""

    name: str
    steps: Iterator[Any]
    batch_size: int
    state_bytes: int  # weights, gradients, the optimizer's memory and the rule's own
    period: int = 1  # steps after which the cost of a step repeats
    settled: Callable[[], bool] = lambda: True  # whether steps run as all later ones will
    one_by_one: Callable[[], AbstractContextManager[None]] = nullcontext  # with no step recorded or replayed


def overrides_of(method: str) -> list[str]:
    """The overrides behind the name of a method, or those that the text itself lists.

    Raises ConfigError for a text that is neither.
    """
    for name, overrides in METHODS.items():
        if name.casefold() == method.casefold():
            return overrides
    if "=" in method:
        return method.split()
    raise ConfigError(
        f"{method}: no such method.{nearest(method, list(METHODS))}\nKnown: {'; '.join(METHODS)};"
        ' or overrides in quotes, such as "augment=mixup opt=sam".'
    )


def configured(method: str, overrides: Sequence[str]) -> Train:
    """The checked config of a method under further overrides. Raises ConfigError."""
    return compose([*overrides_of(method), *overrides])


def made_up(spec: DataSpec, n: int = IMAGES) -> Splits:
    """`n` random inputs and labels in the shape of a data set: a step costs the same, and nothing is downloaded.

    Raises ConfigError for graphs.
    """
    if spec.kind == "graph":
        raise ConfigError(
            f"dataset={spec.name}: a step is measured on made-up inputs, and graphs, which are of all sizes, cannot be"
            " made up at the cost of real ones; allowed: images, rows."
        )
    generator = np.random.default_rng(0)

    def split(size: int) -> Split:
        labels = generator.integers(0, spec.num_classes, size)
        if spec.kind == "row":
            return Split(generator.standard_normal((size, *spec.shape), dtype=np.float32), labels)
        return Split(generator.integers(0, 256, (size, *spec.shape), dtype=np.uint8), labels)

    return Splits(spec, train=split(n), val=None, test=split(1), note="")


def subject(name: str, config: Train, device: torch.device, splits: Splits | None = None) -> Subject:
    """The training loop of `config`, exactly as `mixbench train` runs it, on `splits` or on made-up images."""
    splits = splits or made_up(config.dataset.spec(), max(IMAGES, config.batch_size))
    return of_loop(name, config, build_loop(config, device, splits))


def of_loop(name: str, config: Train, loop: Loop) -> Subject:
    """The steps of a loop that was built from `config`."""
    weights = sum(p.numel() * p.element_size() for p in loop.model.parameters())
    base = getattr(config.opt, "base", config.opt.name)
    copies = 4 if base in ("adam", "adamw") else 3  # weight, gradient, the optimizer's averages
    own = sum(tensor.numel() * tensor.element_size() for tensor in loop.rule.tensors())

    def steps() -> Iterator[None]:
        position = Position()
        with Progress(1, 0, loop.steps, config.batch_size, shown=False) as progress:
            while True:
                yield from loop.run_epoch(position, progress)
                position.epoch, position.step = position.epoch + 1, 0
                loop.metrics.reset()

    period = getattr(config.opt, "k", 1)
    return Subject(
        name,
        steps(),
        config.batch_size,
        copies * weights + own,
        period,
        lambda: loop.steps_are_settled(period),
        loop.one_by_one,
    )
