"""DG-Mix, Decomposed G-Mix (Li & Tang, G-Mix, section IV, algorithm 2)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from mixbench.optim.base import frozen_statistics
from mixbench.optim.outputs import recorded
from mixbench.optim.selective import SelectiveSAM, check_whole, kept, select
from mixbench.optim.vectors import along, dot
from mixbench.seams import Closure


class DGMix(SelectiveSAM):
    """BG-Mix plus what the less sensitive examples, B-, say across the direction of the sensitive ones, B+.

        g+ = gradient of mean_(B+) l_i(w + delta),    g- = that of mean_(B-) l_i(w + delta)
        g = g+ + g- - (<g-, g+> / ||g+||^2) g+

    B+ is chosen as in `BGMix`. The paper decomposes "losses" and gives no formula; both readings below remove
    from B- the component along B+, and gamma=1 (B- is empty) is SAM for both.

    Args:
        gamma: share of the batch in B+, in (0, 1].
        decompose: "gradient": the formula above, in parameter space, with a second backward pass through the
            same forward (8 instead of SAM's 6 forward passes' time; of a batch in parts, 10, as each part's
            forward is run for the selection, for B+ and for B-). "logit": the same projection of each B-
            example's gradient with respect to its logits onto the mean of those of B+, then one backward pass:
            about SAM's time, as the paper measures. The losses must then depend on the weights through the
            model's outputs alone, and the batch must be in one part.
        Others: see `SAM`.
    """

    def __init__(
        self,
        model: nn.Module,
        base: torch.optim.Optimizer,
        rho: float = 0.5,
        gamma: float = 0.5,
        *,
        decompose: str = "gradient",
        **shared: Any,
    ) -> None:
        super().__init__(model, base, rho, gamma, **shared)
        if decompose not in ("gradient", "logit"):
            raise ValueError(f"decompose={decompose}: not one of gradient, logit")
        self.decompose = decompose

    def step(self, *parts: Closure) -> Tensor:
        if self.decompose == "logit":
            check_whole(parts, "decompose=logit")
        return super().step(*parts)

    def second_pass(self, parts: Sequence[Closure], losses: Tensor, first: list[Tensor]) -> None:
        batch = self.together.size * len(losses)
        if kept(self.gamma, batch) == batch:
            super().second_pass(parts, losses, first)
        elif self.decompose == "gradient":
            self._across_gradients(parts, losses)
        else:
            self._across_logits(*parts, losses=losses)

    def _across_gradients(self, parts: Sequence[Closure], losses: Tensor) -> None:
        alone = len(parts) == 1
        parts, chosen, number = self.selection(parts, losses)
        for part, mask in zip(parts, chosen, strict=True):
            self.backward(torch.where(mask, part(), 0.0).sum() / number, retain_graph=alone)
        plus = self.gradients()
        self.together.average(plus)
        self.base.zero_grad()
        # Of several parts, this is one more forward, which moves no statistics once more.
        with nullcontext() if alone else frozen_statistics(self.model):
            for part, mask in zip(parts, chosen, strict=True):
                self.backward(torch.where(mask, 0.0, part()).sum() / (len(losses) - number))
        minus = self.gradients()
        with torch.no_grad():
            product = dot(minus, plus)
            self.together.average([product])
            keep = 1 - along(product, dot(plus, plus))
            torch._foreach_add_(minus, torch._foreach_mul(plus, keep))

    def _across_logits(self, closure: Closure, *, losses: Tensor) -> None:
        batch = len(losses)
        with recorded(self.model, cut=True) as outputs:
            perturbed = closure()
        selected, share = select(perturbed.detach() - losses, self.gamma, self.together)
        chosen = selected[:, None]
        received = [leaf for _, leaf in outputs]
        # One row per example, whichever calls of the model its outputs came from.
        gradients = torch.autograd.grad(self.scaled(perturbed.mean()), received)
        d = torch.cat([_by_example(g, batch) for g in gradients], dim=1)
        plus = torch.where(chosen, d, 0.0).sum(0)
        self.together.average([plus])
        across = d - along(d @ plus, plus @ plus)[:, None] * plus
        upstream = torch.where(chosen, d * (batch / share), across * (batch / (batch - share)))
        widths = [leaf.numel() // batch for leaf in received]
        parts = [_as_output(u, leaf) for u, leaf in zip(upstream.split(widths, dim=1), received, strict=True)]
        torch.autograd.backward([output for output, _ in outputs], parts)


def _by_example(gradient: Tensor, batch: int) -> Tensor:
    """(c * batch, K) of a forward of c batches -> (batch, c * K), at least float32."""
    wide = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
    return wide.unflatten(0, (-1, batch)).transpose(0, 1).flatten(1)


def _as_output(rows: Tensor, leaf: Tensor) -> Tensor:
    """The inverse of `_by_example`, for the output `leaf`."""
    return rows.unflatten(1, (-1, leaf.shape[1])).transpose(0, 1).flatten(0, 1).to(leaf.dtype)
