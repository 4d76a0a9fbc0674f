"""No regularizer: the loss of the mixed batch alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn


class NoRegularizer:
    """The objective of plain training: loss(model(x), y)."""

    uses_mean_image: ClassVar[bool] = False

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        images: Tensor,
        labels: Tensor,
        loss: Callable[[Tensor, Tensor], Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Losses (B,) of the mixed batch x (B, ...), y (B, K), and its logits (B, K)."""
        logits = model(x)
        return loss(logits, y), logits
