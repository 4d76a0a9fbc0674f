"""GSAM, surrogate gap guided sharpness-aware minimization (Zhuang et al., ICLR 2022, algorithm 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mixbench.optim.sam import SAM
from mixbench.optim.vectors import along, dot
from mixbench.seams import Closure


class GSAM(SAM):
    """SAM that also lowers the surrogate gap, L(w + delta) - L(w), where that costs nothing of L(w + delta).

        g = gradient of the mean loss at w,    g_p = that at w + delta
        g_across = g - (<g, g_p> / ||g_p||^2) g_p
        the base optimizer steps with g_p - alpha * g_across

    To first order, going up along g_across leaves the loss at w + delta as it is and raises that at w, so the gap
    between them closes. alpha=0 is SAM.

    Args:
        alpha: weight of g_across, >= 0.
        rho_min: length of delta where the learning rate is zero, >= 0 and at most rho; between this and rho it follows
            the learning rate, rho_min + (rho - rho_min) * lr / lr_max, with lr_max what `base` has when it is given.
            None: it is always rho.
        Others: see `SAM`. With several `ranks` and ascent="per_device", each decomposes its own gradient, as in the
            authors' code.

    Raises:
        ValueError: an argument is outside its range.
    """

    needs_first_gradient = True

    def __init__(
        self,
        model: nn.Module,
        base: torch.optim.Optimizer,
        rho: float = 0.05,
        alpha: float = 0.4,
        *,
        rho_min: float | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(model, base, rho, **shared)
        if not (math.isfinite(alpha) and alpha >= 0):
            raise ValueError(f"alpha={alpha}: must be a finite number >= 0")
        if rho_min is not None and not 0 <= rho_min <= rho:
            raise ValueError(f"rho_min={rho_min}: must be >= 0 and at most rho={rho}")
        self.alpha = alpha
        self.rho_min = rho_min
        self.lr_max = base.param_groups[0]["lr"]

    def radius(self) -> float | Tensor:
        if self.rho_min is None:
            return self.rho
        return self.rho_min + (self.rho - self.rho_min) * (self.base.param_groups[0]["lr"] / self.lr_max)

    def second_pass(self, parts: Sequence[Closure], losses: Tensor, first: list[Tensor]) -> None:
        self.accumulate(parts)
        perturbed = self.gradients()
        self.together.average(perturbed)
        with torch.no_grad():
            # g_p - alpha (g - c g_p) = (1 + alpha c) g_p - alpha g
            c = along(dot(first, perturbed), dot(perturbed, perturbed))
            torch._foreach_mul_(perturbed, 1 + self.alpha * c)
            torch._foreach_add_(perturbed, first, alpha=-self.alpha)
