"""LookSAM (Liu et al., Towards Efficient and Scalable Sharpness-Aware Minimization, CVPR 2022, algorithm 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mixbench.optim.sam import SAM
from mixbench.optim.vectors import along, dot, norm
from mixbench.seams import Closure


class LookSAM(SAM):
    """SAM in every k-th step, whose turn away from the plain gradient the steps between repeat.

        steps 0, k, 2k, ...:  g_s = gradient of the mean loss at w + delta, with which the base optimizer steps
                              g_v = g_s - (<g_s, g> / ||g||^2) g,    g = gradient at w
        the steps between:    g + alpha * (||g|| / ||g_v||) * g_v

    All norms and products are over all parameters jointly. Of g_v only the direction is used and kept, in the weights'
    type; the loss scale cancels in it. Where g_v is zero nothing is added, and where it is not finite, as in a step
    that a scaler skips, the last one stays. k=1 is SAM.

    Args:
        rho: length of delta, > 0: at zero g_v would be the rounding of zero.
        k: one step of k climbs, >= 1.
        alpha: length of what is added between, relative to the plain gradient, >= 0.
        Others: see `SAM`. With several `ranks` g_v is the mean of theirs; with ascent="per_device" ||g|| is the length
            of each rank's own gradient, and with "synchronised" that of the whole batch's.

    Raises:
        ValueError: an argument is outside its range.
    """

    needs_first_gradient = True

    def __init__(
        self,
        model: nn.Module,
        base: torch.optim.Optimizer,
        rho: float = 0.05,
        k: int = 5,
        alpha: float = 0.7,
        **shared: Any,
    ) -> None:
        super().__init__(model, base, rho, **shared)
        if rho == 0:
            raise ValueError("rho=0: must be > 0")
        if k < 1:
            raise ValueError(f"k={k}: must be >= 1")
        if not (math.isfinite(alpha) and alpha >= 0):
            raise ValueError(f"alpha={alpha}: must be a finite number >= 0")
        self.k = k
        self.alpha = alpha
        self.steps = 0
        # g_v / ||g_v||, for every parameter of the base optimizer, with or without a gradient.
        self.turn = [torch.zeros_like(w) for group in base.param_groups for w in group["params"]]

    def choose(self, images: Tensor | None = None, generator: torch.Generator | None = None) -> bool:
        """Whether the next step climbs, for which this counts as begun; see `seams.Choosing`."""
        climbs = self.steps % self.k == 0
        self.steps += 1
        return climbs

    def step(self, *parts: Closure, choice: bool | None = None) -> Tensor:
        """As `SAM.step`; `choice` is what `choose` gave for it, None: it is asked now."""
        climbs = self.choose() if choice is None else choice
        return super().step(*parts) if climbs else self._between(parts)

    def second_pass(self, parts: Sequence[Closure], losses: Tensor, first: list[Tensor]) -> None:
        self.accumulate(parts)
        perturbed = self.gradients()
        with torch.no_grad():
            across = torch._foreach_mul(first, -along(dot(perturbed, first), dot(first, first)))
            across = torch._foreach_add(across, perturbed)
            self.ranks.average(across)
            length = norm(across)
            usable = length.isfinite()
            unit = torch._foreach_div(across, torch.where(length > 0, length, 1.0))
            for kept, new in zip(self._turn(), unit, strict=True):
                kept.copy_(torch.where(usable, new, kept))

    def _between(self, parts: Sequence[Closure]) -> Tensor:
        self.base.zero_grad()
        loss, _ = self.accumulate(parts)
        gradients = self.gradients()
        self.together.average(gradients)
        with torch.no_grad():
            torch._foreach_add_(gradients, torch._foreach_mul(self._turn(), self.alpha * norm(gradients)))
        self.update()
        return loss

    def _turn(self) -> list[Tensor]:
        """The part of `turn` that belongs to the parameters with a gradient."""
        every = [w for group in self.base.param_groups for w in group["params"]]
        return [turn for w, turn in zip(every, self.turn, strict=True) if w.grad is not None]

    def tensors(self) -> list[Tensor]:
        return self.turn

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "turn": self.turn}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        for kept, saved in zip(self.turn, state["turn"], strict=True):
            kept.copy_(saved)
        self.steps = state["steps"]
