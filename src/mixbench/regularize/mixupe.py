"""MixupE (Zou et al., MixupE: Understanding and Improving Mixup from Directional Derivative Perspective, 2023)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from mixbench.losses import one_hot


class MixupE:
    """Mixup's first-order effect, added once more as a loss on the directional derivatives q_i.

        R = E[1-lambda] / B * sum_i |q_i|,    L = c (L_mix + eta R),    c = |L_mix| / |L_mix + eta R|

    with c held constant (equations 7 to 9; differentiating through it would leave the gradient of L_mix
    alone) and E[1-lambda] = 2 alpha beta / ((alpha + beta) (alpha + beta + 1)): that of the paper's mixture of
    Beta(alpha + 1, beta) and Beta(beta + 1, alpha) with weights alpha and beta over alpha + beta. It is
    alpha / (2 alpha + 1) for beta = alpha. The returned losses are those of the examples, with mean L: where a rule
    selects among examples, the extra loss counts. `augment=none` gives "ERM + additional loss", in one forward.

    Args:
        eta: weight of R, >= 0; the paper searches 1e-4 to 1e-1.
        alpha, beta: of the Beta distribution that Mixup draws from, > 0; None for `beta` is alpha.
        variant: "paper": q_i = (y_i - softmax f_i) . f_i (equation 5), needs no derivative. "exact":
            q_i = (softmax f_i - y_i) . J_f(x_i) (mean image - x_i) (equation 4), by a vector-Jacobian product
            and a second differentiation; with BatchNorm in training J includes the batch's statistics, as in
            the official code (its version 2, but for `detach`). "official": the public code's fast version 3, of
            the other sign: R is minus the sum of the q_i of equation 5 below `threshold`, without absolute values.
        threshold: of "official".
        detach: softmax f_i - y_i counts as a constant where R is differentiated, as in versions 1, 2 and 4 of the
            official code. False: the gradient is that of equation 7.
        samples: on which q is computed: "original", the un-mixed batch (text and official code), or "mixed"
            (algorithm 1, read literally).
        forward: "separate" forwards of mixed and original batch, or "batched", one of both, in which
            BatchNorm normalises over their union.
        rescale: multiply by c, whose means are those of the batch that this process sees.
        mean_image: the mean input, without the batch axis, for "exact"; None takes the mean of the batch.

    Raises:
        ValueError: an argument is outside its range.
    """

    uses_mean_image: ClassVar[bool] = True

    def __init__(
        self,
        eta: float = 1e-3,
        alpha: float = 1.0,
        *,
        beta: float | None = None,
        variant: str = "paper",
        threshold: float = 1.0,
        detach: bool = False,
        samples: str = "original",
        forward: str = "separate",
        rescale: bool = True,
        mean_image: Tensor | None = None,
    ) -> None:
        if not (math.isfinite(eta) and eta >= 0):
            raise ValueError(f"eta={eta}: must be a finite number >= 0")
        beta = alpha if beta is None else beta
        for shape, number in (("alpha", alpha), ("beta", beta)):
            if not (math.isfinite(number) and number > 0):
                raise ValueError(f"{shape}={number}: must be a finite number > 0")
        for name, value, allowed in (
            ("variant", variant, ("paper", "exact", "official")),
            ("samples", samples, ("original", "mixed")),
            ("forward", forward, ("separate", "batched")),
        ):
            if value not in allowed:
                raise ValueError(f"{name}={value}: not one of {', '.join(allowed)}")
        self.eta = eta
        # In an order in which beta = alpha gives the same bits as alpha / (2 alpha + 1).
        self.mean_weight = alpha * (2 * beta / (alpha + beta)) / (alpha + beta + 1)
        self.variant = variant
        self.threshold = threshold
        self.detach = detach
        self.samples = samples
        self.forward = forward
        self.rescale = rescale
        self.mean_image = mean_image

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        images: Tensor,
        labels: Tensor,
        loss: Callable[[Tensor, Tensor], Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Losses (B,) of the mixed batch x, y with the extra term, and the logits (B, K) of x.

        `images` (B, ...) and `labels` (B,) are the un-mixed batch; `loss(logits, y)` gives (B,).
        """
        # "exact" differentiates, also where the caller only wants values.
        with torch.set_grad_enabled(torch.is_grad_enabled() or self.variant == "exact"):
            if self.samples == "mixed" or x is images:
                probed = self._probed(x)
                logits = outputs = model(probed)
                targets = y
            else:
                probed = self._probed(images)
                targets = one_hot(labels, y.shape[1])
                if self.forward == "batched":
                    logits, outputs = model(torch.cat([x, probed])).chunk(2)
                else:
                    logits, outputs = model(x), model(probed)
            extra = self.eta * self.mean_weight * self._penalty(outputs, targets, probed)
        losses = loss(logits, y)
        total = losses + extra
        if self.rescale:
            mixed, whole = losses.detach().mean().abs(), total.detach().mean().abs()
            # Both are zero in the limit of a fitted batch.
            total = total * torch.where(whole > 0, mixed / whole, 1.0)
        return total, logits

    def _probed(self, batch: Tensor) -> Tensor:
        return batch.detach().requires_grad_() if self.variant == "exact" else batch

    def _penalty(self, outputs: Tensor, targets: Tensor, probed: Tensor) -> Tensor:
        """R of each example but for the factor E[1-lambda], in at least float32."""
        logits = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        error = targets.to(logits.dtype) - logits.softmax(1)
        error = error.detach() if self.detach else error
        if self.variant == "exact":
            direction = -error.to(outputs.dtype)
            (product,) = torch.autograd.grad(outputs, probed, direction, create_graph=True, allow_unused=True)
            if product is None:
                raise ValueError(
                    "variant=exact differentiates the model's output by its input, which this update rule cuts"
                    " apart (opt=dgmix opt.decompose=logit); use decompose=gradient or another variant"
                )
            centre = probed.detach().mean(0) if self.mean_image is None else self.mean_image
            return ((centre - probed.detach()) * product).flatten(1).sum(1).abs()
        q = (error * logits).sum(1)
        if self.variant == "official":
            return torch.where(q < self.threshold, -q, 0.0)
        return q.abs()
