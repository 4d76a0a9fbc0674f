"""What BG-Mix and DG-Mix share: which examples' losses SAM's ascent raises most (Li & Tang, G-Mix, section IV)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mixbench.machine.ranks import ALONE, Ranks
from mixbench.optim.sam import SAM
from mixbench.seams import Closure


class SelectiveSAM(SAM):
    """SAM whose second pass tells the sharpness-sensitive examples, B+, from the others.

        s_i = l_i(w + delta) - l_i(w),    B+ = the max(1, round(gamma B)) examples with the largest s_i

    delta comes from the whole batch, as in SAM. Of a batch in parts, B+ is chosen among all examples.

    Args:
        gamma: share of the batch in B+, in (0, 1]; ties are cut, so the number is exact.
        Others: see `SAM`.
    """

    def __init__(
        self,
        model: nn.Module,
        base: torch.optim.Optimizer,
        rho: float = 0.5,
        gamma: float = 0.5,
        **shared: Any,
    ) -> None:
        super().__init__(model, base, rho, **shared)
        if not 0 < gamma <= 1:
            raise ValueError(f"gamma={gamma}: must be > 0 and <= 1")
        self.gamma = gamma

    def selection(
        self, parts: Sequence[Closure], losses: Tensor
    ) -> tuple[Sequence[Closure], Sequence[Tensor], float]:
        """The second pass with its selection: parts to compute losses by, (B / n,) bool for each of them, and |B+|.

        The number is the mean over the ranks that select as one. A batch in one part goes through the model once: that
        forward is looked at, and then learned from. For several parts a pass without gradient comes before.
        """
        if len(parts) == 1:
            perturbed = parts[0]()
            parts = [lambda: perturbed]
            chosen, number = select(perturbed.detach() - losses, self.gamma, self.together)
        else:
            chosen, number = select(self.foreseen(parts) - losses, self.gamma, self.together)
        return parts, chosen.chunk(len(parts)), number


def check_whole(parts: Sequence[Closure], form: str) -> None:
    """Raise ValueError if the batch comes in several parts, which `form`, a setting in words, cannot use."""
    if len(parts) > 1:
        raise ValueError(f"{form}: needs the batch in one part, not in {len(parts)}")


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
