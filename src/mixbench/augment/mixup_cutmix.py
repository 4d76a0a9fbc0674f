"""Stochastic Mixup & CutMix: one of the two, by chance."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mixbench.augment.base import check_positive, check_share
from mixbench.augment.cutmix import CutMix
from mixbench.augment.draws import Draws
from mixbench.augment.mixup import Mixup
from mixbench.augment.ratio import RatioMix


class MixupCutMix(RatioMix):
    """Mixup with probability `mixup_prob`, else CutMix; chosen per batch (with `per_sample`, per example).

    Source: Park et al. 2022, section 2; also the training recipes of timm.

    Args:
        alpha_mixup: Mixup's ratio is drawn from Beta(alpha_mixup, alpha_mixup); finite and > 0.
        alpha_cutmix: the same for CutMix, whose label follows the pasted area.
        mixup_prob: probability of Mixup, in [0, 1].
        Others: see `MaskMix`.
    """

    def __init__(
        self,
        num_classes: int,
        alpha_mixup: float = 1.0,
        alpha_cutmix: float = 1.0,
        mixup_prob: float = 0.5,
        **shared: Any,
    ) -> None:
        super().__init__(num_classes, **shared)
        check_positive("alpha_mixup", alpha_mixup)
        check_positive("alpha_cutmix", alpha_cutmix)
        check_share("mixup_prob", mixup_prob)
        self.mixup = Mixup(num_classes, alpha_mixup)
        self.cutmix = CutMix(num_classes, alpha_cutmix)
        self.mixup_prob = mixup_prob

    def sample(
        self, n: int, height: int, width: int, draws: Draws, lam: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        mixup = draws.uniform(n) < self.mixup_prob
        mixup_mask, mixup_own = self.mixup.sample(n, height, width, draws, lam)
        cutmix_mask, cutmix_own = self.cutmix.sample(n, height, width, draws, lam)
        mask = torch.where(mixup[:, None, None, None], mixup_mask, cutmix_mask)
        return mask, torch.where(mixup, mixup_own, cutmix_own)
