"""The plain update rule, and two tools of the two-pass rules: running statistics and dropout masks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from mixbench.machine.ranks import ALONE, Ranks
from mixbench.seams import Closure


class Descent:
    """One forward and backward, then one step of a torch optimizer.

    Args:
        model: the model that the closures run.
        base: any torch optimizer over the model's parameters.
        clip_norm: the final gradient is scaled down to this length, over all parameters jointly, where it is longer;
            > 0. None: it is left as it is.
        scaler: loss scaling for fp16; None for float32 and bf16. A step that it skips leaves the weights and the
            base optimizer's memory as they are, the first one too.
        ranks: the processes that train the same weights, each on its part of a batch. Gradients are averaged over
            them before they are clipped and the optimizer steps.

    Raises:
        ValueError: an argument is outside its range.
    """

    alike = True  # see `seams.Rule`

    def __init__(
        self,
        model: nn.Module,
        base: torch.optim.Optimizer,
        *,
        clip_norm: float | None = None,
        scaler: torch.amp.GradScaler | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        if clip_norm is not None and not (math.isfinite(clip_norm) and clip_norm > 0):
            raise ValueError(f"clip_norm={clip_norm}: must be a finite number > 0")
        if scaler is not None and any(g.get("fused") and g.get("dampening") for g in base.param_groups):
            raise ValueError(
                "fused SGD with dampening is wrong after a skipped first step: give it fused=False"
            )
        self.model = model
        self.base = base
        self.clip_norm = clip_norm
        self.scaler = scaler
        self.ranks = ranks

    def step(self, *parts: Closure) -> Tensor:
        """Update the weights with the gradient of the mean of the losses (B,) of one batch.

        Each of the n `parts` computes the losses (B / n,) of an equal part of the batch, in its order; only one part's
        graph is in memory at a time. Returns the mean loss at the weights before the update: 0-dim, detached, on the
        device. The final gradient stays in the parameters' `grad` (scaled, if there is a scaler and it skipped the
        step).

        Raises:
            ValueError: a part gives something else than such losses.
        """
        self.base.zero_grad()
        loss, _ = self.accumulate(parts)
        self.update()
        return loss

    def tensors(self) -> list[Tensor]:
        """What a step changes besides weights, buffers and the optimizer's memory."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """What a resume needs besides the base optimizer and the scaler."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""

    def accumulate(self, parts: Sequence[Closure]) -> tuple[Tensor, Tensor]:
        """Add the gradient of the mean loss over all parts to the parameters' `grad`, part by part.

        Returns that mean, 0-dim, and the losses (B,), both detached.
        """
        shares: list[Tensor] = []
        losses: list[Tensor] = []
        for part in parts:
            each = part()
            if not torch.is_tensor(each) or each.dim() != 1:
                kind = (
                    f"tensor of shape {tuple(each.shape)}" if torch.is_tensor(each) else type(each).__name__
                )
                raise ValueError(
                    f"the closure returned a {kind}; expected are the losses of the examples, of shape (B,), as"
                    ' torch\'s loss functions give with reduction="none"'
                )
            if losses and len(each) != len(losses[0]):
                raise ValueError(
                    f"the parts of a batch must be equal: one gave {len(losses[0])} losses, another {len(each)}"
                )
            share = each.mean() if len(parts) == 1 else each.mean() / len(parts)
            self.backward(share)
            shares.append(share.detach())
            losses.append(each.detach())
        if len(parts) == 1:  # the usual case: five small operations a pass less, of the same results
            return shares[0], losses[0]
        return torch.stack(shares).sum(), torch.cat(losses)

    def backward(self, loss: Tensor, retain_graph: bool = False) -> None:
        """Accumulate the gradient of the 0-dim `loss`, scaled when there is a scaler."""
        self.scaled(loss).backward(retain_graph=retain_graph)

    def scaled(self, value: Tensor) -> Tensor:
        """`value` times the loss scale."""
        return value if self.scaler is None else self.scaler.scale(value)

    def weights(self) -> list[Tensor]:
        """The base optimizer's parameters that have a gradient."""
        return [w for group in self.base.param_groups for w in group["params"] if w.grad is not None]

    def gradients(self) -> list[Tensor]:
        """The gradient of each of `weights`."""
        return [w.grad for w in self.weights() if w.grad is not None]

    def update(self) -> None:
        """One step of the base optimizer; with a scaler, none if the gradient is not finite on any rank."""
        self.ranks.average(self.gradients())
        self._begin_momentum()
        if self.scaler is None:
            self._clip()
            self.base.step()
            return
        if self.clip_norm is not None:
            self.scaler.unscale_(self.base)  # which also looks for what is not finite, before it is clipped
        self._clip()
        self.scaler.step(self.base)
        self.scaler.update()

    def _begin_momentum(self) -> None:
        """Zeros for the parameters that fused SGD is about to meet for the first time, which give its first step.

        Its own momentum begins as uninitialised memory, which is kept when a scaler skips the first step, and it
        cannot take a parameter whose first gradient comes later than that of the others.
        """
        for group in self.base.param_groups:
            if group.get("fused") and group.get("momentum") and not group["dampening"]:
                for w in group["params"]:
                    if w.grad is not None and not self.base.state[w]:
                        self.base.state[w]["momentum_buffer"] = torch.zeros_like(w.grad)

    def _clip(self) -> None:
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.weights(), self.clip_norm)


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """BatchNorm and InstanceNorm normalise with the batch, as in training, but leave their running statistics alone.

    Works for `momentum=None` too, where setting the momentum to zero does not.
    """
    norms = [m for m in model.modules() if isinstance(m, _NormBase)]
    tracking = [m for m in norms if m.training and m.track_running_stats]
    # InstanceNorm moves what running statistics it has, whatever its switch says.
    apart = [(m, m.running_mean, m.running_var) for m in tracking if isinstance(m, _InstanceNorm)]
    for module in tracking:
        module.track_running_stats = False
    for module, _, _ in apart:
        module.running_mean = module.running_var = None
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True
        for module, mean, var in apart:
            module.running_mean, module.running_var = mean, var


def random_state(model: nn.Module) -> Callable[[], None]:
    """A function that puts the default generators of the CPU and the model's GPU back to their present state.

    Called before a second pass, it gives that pass the dropout masks of the first. While a CUDA graph is
    captured the GPU's generator cannot be read, and is left out.
    """
    generators = [torch.default_generator]
    device = next(model.parameters()).device
    if device.type == "cuda" and not torch.cuda.is_current_stream_capturing():
        generators.append(torch.cuda.default_generators[device.index])
    states = [g.get_state() for g in generators]

    def replay() -> None:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)

    return replay
