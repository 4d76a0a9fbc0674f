"""Sharpness-aware minimization (Foret et al., ICLR 2021) and its adaptive form (Kwon et al., ICML 2021)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from mixbench.machine.ranks import ALONE, Ranks
from mixbench.optim.base import Descent, frozen_statistics, random_state
from mixbench.optim.vectors import Tensors, clear_unless, norm
from mixbench.seams import Closure


class SAM(Descent):
    """The gradient is taken where the loss is highest nearby: at w + delta instead of w.

        delta = rho * g / ||g||,    g = gradient of the mean loss at w, the norm over all parameters jointly

    One step is two forward and backward passes on the same batch with the same dropout masks; a batch in parts goes
    through the first pass part by part, and then, in the same order, through the second. The weights are put back from
    a saved copy, bit for bit, before the base optimizer steps from w with the gradient at w + delta. If ||g|| is zero
    or not finite, delta is 0. Nothing in the step waits for the device (a scaler does around an optimizer that is not
    fused: it must know whether to skip). rho=0 is the base optimizer. On Mixup batches this is the G-Mix of Li & Tang.

    Args:
        model: the model that the closures run.
        base: a torch optimizer over the model's parameters; its momentum and weight decay act at w.
        rho: length of delta, >= 0. Usual: 0.05 (CIFAR-10), 0.1 (CIFAR-100); 0.5 in Li & Tang.
        adaptive: ASAM: delta = rho * T^2 g / ||T g|| with T = |w| + eta for the parameters whose full name
            contains "weight" and T = 1 for the others, as in the official code.
        eta: of `adaptive`, >= 0.
        perturb: "all" parameters, or "no_norm_bias": only those with two or more dimensions.
        bn_stats: which passes move the running statistics of BatchNorm and InstanceNorm: "first" or "both".
        decay_in_ascent: add weight_decay * w to g in delta, as where the penalty is part of the loss. In the authors'
            JAX code it is part of the loss in the second pass too, and acts at w + delta in the update: their final
            gradient has weight_decay * delta more. Not around AdamW, whose decay is no part of a loss.
        ascent: with several `ranks`: "per_device", where each ascends along the gradient of its own part of the batch
            (m-sharpness, as in both papers), or "synchronised", along that of the whole batch, as one process would.
            Rules that select examples select by device or from the whole batch accordingly.
        clip_norm: see `Descent`; of the gradient at w + delta, not of g.
        scaler: loss scaling for fp16. The scale cancels in g / ||g||.
        ranks: see `Descent`.

    Raises:
        ValueError: an argument is outside its range.
    """

    needs_first_gradient = False  # whether `second_pass` reads it; it is kept in memory only then

    def __init__(
        self,
        model: nn.Module,
        base: torch.optim.Optimizer,
        rho: float = 0.05,
        *,
        adaptive: bool = False,
        eta: float = 0.01,
        perturb: str = "all",
        bn_stats: str = "first",
        decay_in_ascent: bool = False,
        ascent: str = "per_device",
        clip_norm: float | None = None,
        scaler: torch.amp.GradScaler | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        super().__init__(model, base, clip_norm=clip_norm, scaler=scaler, ranks=ranks)
        for name, value in (("rho", rho), ("eta", eta)):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name}={value}: must be a finite number >= 0")
        if perturb not in ("all", "no_norm_bias"):
            raise ValueError(f"perturb={perturb}: not one of all, no_norm_bias")
        if bn_stats not in ("first", "both"):
            raise ValueError(f"bn_stats={bn_stats}: not one of first, both")
        if ascent not in ("per_device", "synchronised"):
            raise ValueError(f"ascent={ascent}: not one of per_device, synchronised")
        if decay_in_ascent and isinstance(base, torch.optim.AdamW):
            raise ValueError("decay_in_ascent=True: AdamW's weight decay is no part of the loss")
        if perturb == "no_norm_bias" and all(p.dim() < 2 for p in model.parameters()):
            raise ValueError("perturb=no_norm_bias: the model has no parameter with two or more dimensions")
        self.rho = rho
        self.adaptive = adaptive
        self.eta = eta
        self.perturb = perturb
        self.bn_stats = bn_stats
        self.decay_in_ascent = decay_in_ascent
        self.ascent = ascent
        self._named_weight = {p for name, p in model.named_parameters() if "weight" in name}

    @property
    def together(self) -> Ranks:
        """The ranks that ascend and select as one."""
        return self.ranks if self.ascent == "synchronised" else ALONE

    def step(self, *parts: Closure) -> Tensor:
        """As `Descent.step`, with the gradient of the second pass; returns the mean loss of the first."""
        replay = random_state(self.model)
        self.base.zero_grad()
        loss, losses = self.accumulate(parts)
        self.together.average(self.gradients())
        first = self.gradients() if self.needs_first_gradient else []
        statistics = frozen_statistics(self.model) if self.bn_stats == "first" else nullcontext()

        def replayed() -> Tensor:
            replay()
            return parts[0]()

        with self.perturbed(), statistics:
            self.base.zero_grad()
            self.second_pass([replayed, *parts[1:]], losses, first)
        self.update()
        return loss

    def second_pass(self, parts: Sequence[Closure], losses: Tensor, first: list[Tensor]) -> None:
        """Leave in the parameters' `grad` what the base optimizer shall use.

        Called at w + delta, with all gradients cleared. Each pass through all `parts`, in their order, has the dropout
        masks of the first pass, at w, whose losses (B,) are `losses`. `first` is the gradient there, one tensor for
        each of `weights`, scaled as the others are; empty unless the class has `needs_first_gradient`.
        """
        self.accumulate(parts)

    @torch.no_grad()
    def foreseen(self, parts: Sequence[Closure]) -> Tensor:
        """The losses (B,) of a pass that computes no gradient and moves no statistics."""
        with frozen_statistics(self.model):
            return torch.cat([part() for part in parts])

    def radius(self) -> float | Tensor:
        """The length of delta in this step."""
        return self.rho

    @contextmanager
    def perturbed(self) -> Iterator[None]:
        """The weights are w + delta inside, and w again, bit for bit, after it, whatever happens inside."""
        weights, deltas = self.displacement()
        # Saved here, not in the optimizer's state, which goes into every checkpoint.
        saved = [torch.empty_like(w) for w in weights]
        with torch.no_grad():
            torch._foreach_copy_(saved, weights)
            torch._foreach_add_(weights, deltas)
        del deltas  # as large as the weights
        # Around the whole step, autocast would go on with its half-precision copies of the weights at w.
        torch.clear_autocast_cache()
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(weights, saved)
            torch.clear_autocast_cache()

    @torch.no_grad()
    def displacement(self) -> tuple[list[Tensor], Tensors]:
        """The weights that move, which are those with a gradient, and delta for each."""
        moving = [
            (w, group["weight_decay"] if self.decay_in_ascent else 0.0)
            for group in self.base.param_groups
            for w in group["params"]
            if w.grad is not None and (self.perturb == "all" or w.dim() > 1)
        ]
        if not moving:
            raise RuntimeError("the losses give none of the base optimizer's parameters a gradient")
        weights = [w for w, _ in moving]
        ascent: Tensors = [w.grad for w in weights if w.grad is not None]
        if self.decay_in_ascent:
            # The gradients carry the loss scale, so the penalty's must too.
            scale = self.scaled(torch.ones((), device=weights[0].device))
            penalty = torch._foreach_mul(weights, [decay for _, decay in moving])
            ascent = torch._foreach_add(ascent, torch._foreach_mul(penalty, scale))
        if self.adaptive:
            named = [w in self._named_weight for w in weights]  # the others are multiplied by 0 |w| + 1
            scales = torch._foreach_mul(torch._foreach_abs(weights), [float(each) for each in named])
            torch._foreach_add_(scales, [self.eta if each else 1.0 for each in named])
            ascent = torch._foreach_mul(ascent, scales)
        length = norm(ascent)
        factor = self.radius() / length
        usable = (factor > 0) & (factor < math.inf)  # 0 where the length is infinite
        deltas = torch._foreach_mul(ascent, factor)
        clear_unless(usable, deltas)
        return weights, torch._foreach_mul(deltas, scales) if self.adaptive else deltas
