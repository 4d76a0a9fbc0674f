"""What the methods share in which a ratio lambda says how much of each image is shown."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mixbench.augment.base import MaskMix, check_positive, check_share
from mixbench.augment.draws import Draws


class RatioMix(MaskMix):
    """Mix through masks that follow a ratio lambda, drawn or given by the caller. Arguments: see `MaskMix`.

    A method is a subclass with a `sample` that takes such ratios; where they come from one Beta distribution, see
    `BetaMix`.
    """

    def batch_masks(
        self, batch: int, height: int, width: int, draws: Draws, lam: float | Tensor | None
    ) -> tuple[Tensor, ...]:
        n = self.count(batch, lam)
        return self.sample(n, height, width, draws, fixed_ratio(lam, n, draws))

    def count(self, batch: int, lam: float | Tensor | None) -> int:
        """How many ratios and masks a batch needs: one, or one per example."""
        return batch if self.per_sample or (isinstance(lam, Tensor) and lam.dim() == 1) else 1

    def sample(
        self, n: int, height: int, width: int, draws: Draws, lam: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """n masks and label weights, as in `MaskMix`, for given or drawn ratios (n,)."""
        raise NotImplementedError


class BetaMix(RatioMix):
    """Mix through masks that are made for ratios lambda ~ Beta(alpha, beta).

    A method is a subclass with one function, `mask`, that turns lambda into M and w.

    Args:
        alpha, beta: finite and > 0; None for `beta` is alpha. Zhang et al. (How Does Mixup Help With Robustness and
            Generalization?, ICLR 2021, appendix C.1) train with Beta(5, 0.5): mostly the own image.
        Others: see `MaskMix`.
    """

    def __init__(
        self, num_classes: int, alpha: float = 1.0, *, beta: float | None = None, **shared: Any
    ) -> None:
        super().__init__(num_classes, **shared)
        check_positive("alpha", alpha)
        if beta is not None:
            check_positive("beta", beta)
        self.alpha = alpha
        self.beta = beta

    def sample(
        self, n: int, height: int, width: int, draws: Draws, lam: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self.mask(draws.beta(self.alpha, n, self.beta) if lam is None else lam, height, width, draws)

    def mask(self, lam: Tensor, height: int, width: int, draws: Draws) -> tuple[Tensor, Tensor]:
        """Masks and label weights for the ratios `lam` (n,).

        Returns the weight of the own image at every pixel, broadcastable to (n, 1, height, width), and the
        weight of the own label (n,), both in [0, 1] and in the dtype of `lam`.
        """
        raise NotImplementedError


def fixed_ratio(lam: float | Tensor | None, n: int, draws: Draws) -> Tensor | None:
    """`lam` as n numbers on the draws' device, or None when it is to be drawn."""
    if lam is None:
        return None
    if not isinstance(lam, Tensor):
        check_share("lam", lam)
        return torch.full((n,), float(lam), device=draws.device, dtype=draws.dtype)
    if lam.shape not in ((), (n,)):
        raise ValueError(f"lam: shape {tuple(lam.shape)}; allowed: a float, or a tensor of shape () or (B,)")
    return lam.to(draws.device, draws.dtype, non_blocking=True).expand(n)
