"""Mixup (Zhang, Cisse, Dauphin, Lopez-Paz, ICLR 2018)."""

from __future__ import annotations

from torch import Tensor

from mixbench.augment.base import blend
from mixbench.augment.draws import Draws
from mixbench.augment.ratio import BetaMix


class Mixup(BetaMix):
    """One weight lambda for the whole example and for the label: for inputs of any shape (B, ...), table rows too.

    Arguments: see `BetaMix`.
    """

    def size(self, images: Tensor) -> tuple[int, int]:
        """The mask is a single pixel, whatever is mixed."""
        return 1, 1

    def mask(self, lam: Tensor, height: int, width: int, draws: Draws) -> tuple[Tensor, Tensor]:
        return lam[:, None, None, None], lam

    def mixed(self, images: Tensor, mask: Tensor, partners: Tensor, *extra: Tensor) -> Tensor:
        return blend(images, per_example(mask.flatten(), images), partners)


def per_example(weight: Tensor, like: Tensor) -> Tensor:
    """Weights (n,) as (n, 1, ...), with as many dimensions as `like`."""
    return weight.view(-1, *[1] * (like.dim() - 1))
