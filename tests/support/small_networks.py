"""Networks and images for evaluations, without a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from mixbench.data.images import ImageSet

MEAN, STD = (0.4, 0.5, 0.3), (0.2, 0.25, 0.3)


class Small:
    """A network of any module for images of bytes (H, W, 3), as evaluators take it."""

    def __init__(self, model: nn.Module, batch_size: int = 7) -> None:
        self.model, self.batch_size = model.eval(), batch_size
        self.device = torch.device("cpu")
        self.autocast = contextlib.nullcontext()
        self.stored, self.mean, self.std = "uint8", MEAN, STD
        self.class_names = ["a", "b", "c"]

    def logits(self, examples: ImageSet) -> Sequence[tuple[Tensor, Tensor]]:
        with torch.no_grad():
            return [(self.model(x), y) for x, y in examples.eval_batches(self.batch_size)]


def images(n: int, side: int = 4, seed: int = 0, classes: int = 3) -> ImageSet:
    """Random pixels, with some of the ends of their range; random labels."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(-60, 316, (n, side, side, 3), generator=generator).clamp(0, 255).to(torch.uint8)
    labels = torch.randint(0, classes, (n,), generator=generator)
    return ImageSet(pixels.numpy(), labels.numpy(), mean=MEAN, std=STD)


def networks(seed: int) -> Iterator[nn.Module]:
    """A linear one and a small convolutional one with BatchNorm, for images of 4x4."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
        yield nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3)
        )
