"""No mixing: the batch as it is."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from mixbench.augment.base import check_batch, check_classes
from mixbench.losses import one_hot


class NoMix:
    """The inputs themselves and their one-hot labels, in the call form of the mixing methods.

    Args:
        num_classes: K, at least 2; ValueError otherwise.
    """

    uses_model: ClassVar[bool] = False

    def __init__(self, num_classes: int) -> None:
        check_classes(num_classes)
        self.num_classes = num_classes

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        lam: float | Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """`images` (B, ...), floating, unchanged, and y (B, K) float32; `lam` and `generator` have no effect."""
        check_batch(images, labels)
        return images, one_hot(labels, self.num_classes)
