"""BG-Mix, Binary G-Mix (Li & Tang, G-Mix, section IV, algorithm 2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mixbench.machine.ranks import ALONE, Ranks
from mixbench.optim.base import Closure
from mixbench.optim.outputs import recorded, restricted
from mixbench.optim.sam import SAM


class BGMix(SAM):
    """SAM whose second pass learns only from the sharpness-sensitive examples, B+.

        s_i = l_i(w + delta) - l_i(w),    B+ = the max(1, round(gamma B)) examples with the largest s_i
        gradient of mean_(i in B+) l_i(w + delta)

    delta comes from the whole batch, as in SAM. gamma=1 is SAM (on Mixup batches: G-Mix).

    Args:
        gamma: share of the batch in B+, in (0, 1]; ties are cut, so the number is exact.
        compute: "masked": one forward at w + delta, of the whole batch; the others' losses get no weight. It
            costs what SAM costs. "subset": a forward without gradient to select, then forward and backward of
            B+ alone, as in ESAM: 5.5 instead of 6 forward passes' time at gamma=1/2, with other BatchNorm
            statistics. Without BatchNorm both are the same.
        Others: see `SAM`.
    """

    def __init__(
        self,
        model: nn.Module,
        base: torch.optim.Optimizer,
        rho: float = 0.5,
        gamma: float = 0.5,
        *,
        compute: str = "masked",
        **shared: Any,
    ) -> None:
        super().__init__(model, base, rho, **shared)
        check_gamma(gamma)
        if compute not in ("masked", "subset"):
            raise ValueError(f"compute={compute}: not one of masked, subset")
        if compute == "subset" and self.together.size > 1:
            raise ValueError(
                "compute=subset: the ranks' parts would differ in size under ascent=synchronised"
            )
        self.gamma = gamma
        self.compute = compute

    def second_pass(self, closure: Closure, losses: Tensor) -> None:
        if self.compute == "masked":
            perturbed = closure()
            chosen, share = select(perturbed.detach() - losses, self.gamma, self.together)
            self.backward(torch.where(chosen, perturbed, 0.0).sum() / share)
            return
        with torch.no_grad(), recorded(self.model) as outputs:
            sensitivity = closure() - losses
        # In order, so that with gamma=1 the batch is the same one.
        rows = sensitivity.topk(kept(self.gamma, len(losses))).indices.sort().values
        with restricted(self.model, rows, len(losses), [output for output, _ in outputs]):
            self.backward(closure()[rows].mean())


def check_gamma(gamma: float) -> None:
    """Raise ValueError unless `gamma` lies in (0, 1]."""
    if not 0 < gamma <= 1:
        raise ValueError(f"gamma={gamma}: must be > 0 and <= 1")


def kept(gamma: float, batch: int) -> int:
    """How many of `batch` examples are kept: the nearest whole number to gamma * batch, at least 1."""
    return max(1, round(gamma * batch))


def select(sensitivity: Tensor, gamma: float, ranks: Ranks = ALONE) -> tuple[Tensor, float]:
    """B+ among the examples of all `ranks`: (B,) bool for those of this one, and their number for each rank.

    The number is the mean over the ranks, so that averaging their sums divided by it gives the mean over B+.
    """
    whole = ranks.gather(sensitivity)
    k = kept(gamma, len(whole))
    (chosen,) = ranks.parts(sensitive(whole, k))
    return chosen, k / ranks.size


def sensitive(sensitivity: Tensor, k: int) -> Tensor:
    """(B,) bool: true for exactly k of the largest values."""
    chosen = torch.zeros_like(sensitivity, dtype=torch.bool)
    return chosen.scatter_(0, sensitivity.topk(k).indices, True)
