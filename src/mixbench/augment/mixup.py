"""Mixup (Zhang, Cisse, Dauphin, Lopez-Paz, ICLR 2018)."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from mixbench.augment.base import Blend, blend
from mixbench.augment.draws import Draws
from mixbench.augment.ratio import BetaMix


class Mixup(BetaMix):
    """One weight lambda for the whole example and for the label: for inputs of any shape (B, ...), table rows too.

    Args:
        blend: (inputs, weight, partners) -> mixed, for inputs that are mixed in another way (see `data.kinds.Kind`).
        Others: see `BetaMix`.
    """

    uses_blend: ClassVar[bool] = True

    def __init__(self, num_classes: int, alpha: float = 1.0, *, blend: Blend = blend, **shared: Any) -> None:
        super().__init__(num_classes, alpha, **shared)
        self.blend = blend

    def size(self, images: Tensor) -> tuple[int, int]:
        """The mask is a single pixel, whatever is mixed."""
        return 1, 1

    def mask(self, lam: Tensor, height: int, width: int, draws: Draws) -> tuple[Tensor, Tensor]:
        return lam[:, None, None, None], lam

    def mixed(self, images: Tensor, mask: Tensor, partners: Tensor, *extra: Tensor) -> Tensor:
        return self.blend(images, per_example(mask.flatten(), images), partners)


def per_example(weight: Tensor, like: Tensor) -> Tensor:
    """Weights (n,) as (n, 1, ...), with as many dimensions as `like`."""
    return weight.view(-1, *[1] * (like.dim() - 1))
