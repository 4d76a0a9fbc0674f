"""GMix, Gaussian Mixup (Park, Yun, Chun, NeurIPS 2022, section 4).

Not G-Mix (Li & Tang), which is Mixup under sharpness-aware minimization.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mixbench.augment.base import check_choice
from mixbench.augment.draws import Draws
from mixbench.augment.ratio import BetaMix


class GMix(BetaMix):
    """One image shows through a Gaussian bump, centred on a uniform pixel p, in the other.

    With k_s(i) = exp(-pi |i - p|^2 / (s H W)), whose integral over the plane is the share s of the image:

    - variant "official", as in the published code: M = k_lambda for lambda < 1/2, else 1 - k_(1-lambda).
      Label weights near 1/2 cannot occur: at best 0.427 of the image lies in the bump.
    - variant "paper", as in the text: M = 1 - k_(2(1-lambda)), a bump twice as large, no other branch.

    Args:
        alpha: 0.5 on CIFAR-100 and 1 on ImageNet in the paper.
        label: weight of the own label: "mean_mask", the mean of the mask, or "lambda". None takes the
            variant's own: "mean_mask" for "official", "lambda" for "paper".
        Others: see `BetaMix`.
    """

    def __init__(
        self,
        num_classes: int,
        alpha: float = 0.5,
        *,
        variant: str = "official",
        label: str | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(num_classes, alpha, **shared)
        check_choice("variant", variant, ("official", "paper"))
        if label is not None:
            check_choice("label", label, ("mean_mask", "lambda"))
        self.variant = variant
        self.label = label or ("mean_mask" if variant == "official" else "lambda")

    def mask(self, lam: Tensor, height: int, width: int, draws: Draws) -> tuple[Tensor, Tensor]:
        official = self.variant == "official"
        spread = torch.minimum(lam, 1 - lam) if official else 2 * (1 - lam)
        # The bump is a product over the two axes, and so is its mean.
        rows = _bump(spread * (height * width), height, draws)
        columns = _bump(spread * (height * width), width, draws)
        bump = rows[:, None, :, None] * columns[:, None, None, :]
        mean = rows.mean(1) * columns.mean(1)
        if official:
            foreground = lam < 0.5
            bump = torch.where(foreground[:, None, None, None], 1 - bump, bump)
            mean = torch.where(foreground, 1 - mean, mean)
        return 1 - bump, lam if self.label == "lambda" else 1 - mean


def _bump(size: Tensor, length: int, draws: Draws) -> Tensor:
    """(n, length) values exp(-pi d^2 / size) at distance d from a uniform pixel; 0 everywhere for size 0."""
    size = size[:, None]
    centre = draws.integers(length, len(size))[:, None]
    distance = torch.arange(length, device=size.device, dtype=size.dtype) - centre
    return torch.where(size > 0, torch.exp(-math.pi * distance**2 / size), 0.0)
