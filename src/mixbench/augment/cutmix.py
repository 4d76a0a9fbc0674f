"""CutMix (Yun, Han, Oh, Chun, Choe, Yoo, ICCV 2019), and the random box that HMix shares with it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, arange

from mixbench.augment.base import check_choice
from mixbench.augment.draws import Draws
from mixbench.augment.ratio import BetaMix


class CutMix(BetaMix):
    """Paste a box of the partner; the label follows the pasted area.

    The box has the image's proportions and the nominal area share 1 - lambda. Its centre is uniform over the
    pixels, its sides are even, and it is clipped at the border, all as in the official code. Both make it
    smaller: the mean label weight at alpha=1 is 0.701 on 32x32 images, not 0.5.

    Args:
        label: weight of the own label: "area" (one minus the share of pixels pasted) or "nominal" (lambda).
        Others: see `BetaMix`.
    """

    def __init__(self, num_classes: int, alpha: float = 1.0, *, label: str = "area", **shared: Any) -> None:
        super().__init__(num_classes, alpha, **shared)
        check_choice("label", label, ("area", "nominal"))
        self.label = label

    def mask(self, lam: Tensor, height: int, width: int, draws: Draws) -> tuple[Tensor, Tensor]:
        inside, share = random_box(1 - lam, height, width, draws)
        return (~inside).to(lam.dtype), lam if self.label == "nominal" else 1 - share


def random_box(share: Tensor, height: int, width: int, draws: Draws) -> tuple[Tensor, Tensor]:
    """Boxes of nominal area shares `share` (n,) around uniform pixels, clipped at the image's border.

    Returns whether a pixel lies in the box, (n, 1, height, width) bool, and the true share of pixels in it,
    (n,) in the dtype of `share`.
    """
    rows, columns = _interval(share, height, draws), _interval(share, width, draws)
    inside = rows[:, None, :, None] & columns[:, None, None, :]
    return inside, (rows.sum(1) * columns.sum(1)).to(share.dtype) / (height * width)


def _interval(share: Tensor, length: int, draws: Draws) -> Tensor:
    """(n, length) bool: [centre - side // 2, centre + side // 2) with side = int(length * sqrt(share))."""
    half = ((length * share.sqrt()).floor() // 2)[:, None]
    centre = draws.integers(length, len(share))[:, None]
    pixel = arange(length, device=share.device)
    return (pixel >= centre - half) & (pixel < centre + half)
