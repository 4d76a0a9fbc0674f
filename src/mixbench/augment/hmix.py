"""HMix: a box of the partner, Mixup around it (Park, Yun, Chun, NeurIPS 2022, section 4)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mixbench.augment.base import check_choice, check_positive, check_share
from mixbench.augment.cutmix import random_box
from mixbench.augment.draws import Draws
from mixbench.augment.ratio import BetaMix


class HMix(BetaMix):
    """Between Mixup (r=0) and CutMix (r=1): a pasted box of nominal area (1 - lambda) r, Mixup outside it.

    Args:
        r: share of the partner that comes from the box, in [0, 1]; 0.5 on CIFAR-100 and 0.75 on ImageNet in
            the paper. Without effect where `gamma` is given.
        gamma: r is drawn from Beta(gamma, gamma) instead, for each mask; finite and > 0. The paper proposes it: for
            gamma -> 0, r is 0 or 1 by chance, Mixup or CutMix; for large gamma it is 1/2.
        variant: weight of the own image outside the box. "official", as in the published code:
            lambda / (1 - A) with the clipped box's true area share A, so that the mask's mean is lambda for
            every draw. "paper", as in the text: lambda / (1 - (1 - lambda) r), whatever was clipped.
        label: weight of the own label: "lambda", or "mean_mask", the mean of the mask, which for
            "official" is the same.
        Others: see `BetaMix`.
    """

    def __init__(
        self,
        num_classes: int,
        alpha: float = 1.0,
        r: float = 0.5,
        *,
        gamma: float | None = None,
        variant: str = "official",
        label: str = "lambda",
        **shared: Any,
    ) -> None:
        super().__init__(num_classes, alpha, **shared)
        check_share("r", r)
        if gamma is not None:
            check_positive("gamma", gamma)
        check_choice("variant", variant, ("official", "paper"))
        check_choice("label", label, ("lambda", "mean_mask"))
        self.r = r
        self.gamma = gamma
        self.variant = variant
        self.label = label

    def mask(self, lam: Tensor, height: int, width: int, draws: Draws) -> tuple[Tensor, Tensor]:
        r = self.r if self.gamma is None else draws.beta(self.gamma, len(lam))
        nominal = (1 - lam) * r
        inside, share = random_box(nominal, height, width, draws)
        outside = 1 - (share if self.variant == "official" else nominal)
        # A box over the whole image leaves nothing outside: 0/0 at lambda=0, r=1.
        weight = torch.where(outside > 0, lam / outside, 0.0)
        mask = torch.where(inside, 0.0, weight[:, None, None, None])
        return mask, lam if self.label == "lambda" else weight * (1 - share)
