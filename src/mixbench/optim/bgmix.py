"""BG-Mix, Binary G-Mix (Li & Tang, G-Mix, section IV, algorithm 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mixbench.optim.outputs import recorded, restricted
from mixbench.optim.selective import SelectiveSAM, check_whole, kept
from mixbench.seams import Closure


class BGMix(SelectiveSAM):
    """SAM whose second pass learns only from the sharpness-sensitive examples, B+.

        s_i = l_i(w + delta) - l_i(w),    B+ = the max(1, round(gamma B)) examples with the largest s_i
        gradient of mean_(i in B+) l_i(w + delta)

    delta comes from the whole batch, as in SAM. gamma=1 is SAM (on Mixup batches: G-Mix). Of a batch in parts, B+ is
    chosen among all examples, by a forward without gradient before.

    Args:
        gamma: share of the batch in B+, in (0, 1]; ties are cut, so the number is exact.
        compute: "masked": one forward at w + delta, of the whole batch; the others' losses get no weight. It
            costs what SAM costs. "subset": a forward without gradient to select, then forward and backward of
            B+ alone, as in ESAM: 5.5 instead of 6 forward passes' time at gamma=1/2, with other BatchNorm
            statistics. Without BatchNorm both are the same. The batch must then be in one part.
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
        super().__init__(model, base, rho, gamma, **shared)
        if compute not in ("masked", "subset"):
            raise ValueError(f"compute={compute}: not one of masked, subset")
        if compute == "subset" and self.together.size > 1:
            raise ValueError(
                "compute=subset: the ranks' parts would differ in size under ascent=synchronised"
            )
        self.compute = compute

    def step(self, *parts: Closure) -> Tensor:
        if self.compute == "subset":
            check_whole(parts, "compute=subset")
        return super().step(*parts)

    def second_pass(self, parts: Sequence[Closure], losses: Tensor, first: list[Tensor]) -> None:
        if self.compute == "subset":
            self._of_subset(*parts, losses=losses)
            return
        parts, chosen, number = self.selection(parts, losses)
        for part, mask in zip(parts, chosen, strict=True):
            self.backward(torch.where(mask, part(), 0.0).sum() / number)

    def _of_subset(self, closure: Closure, *, losses: Tensor) -> None:
        with torch.no_grad(), recorded(self.model) as outputs:
            sensitivity = closure() - losses
        # In order, so that with gamma=1 the batch is the same one.
        rows = sensitivity.topk(kept(self.gamma, len(losses))).indices.sort().values
        with restricted(self.model, rows, len(losses), [output for output, _ in outputs]):
            self.backward(closure()[rows].mean())
