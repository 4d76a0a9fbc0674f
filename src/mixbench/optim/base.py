"""The plain update rule, and two tools of the two-pass rules: BatchNorm statistics and dropout masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mixbench.machine.ranks import ALONE, Ranks

Closure = Callable[[], Tensor]


class Descent:
    """One forward and backward, then one step of a torch optimizer.

    Args:
        model: the model that the closure runs.
        base: any torch optimizer over the model's parameters.
        scaler: loss scaling for fp16; None for float32 and bf16.
        ranks: the processes that train the same weights, each on its part of a batch. Gradients are averaged over
            them before the optimizer steps.
    """

    def __init__(
        self,
        model: nn.Module,
        base: torch.optim.Optimizer,
        *,
        scaler: torch.amp.GradScaler | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.model = model
        self.base = base
        self.scaler = scaler
        self.ranks = ranks

    def step(self, closure: Closure) -> Tensor:
        """Update the weights with the gradient of the mean of `closure()`, the losses (B,) of one batch.

        Returns that mean at the weights before the update: 0-dim, detached, on the device. The final
        gradient stays in the parameters' `grad` (scaled, if there is a scaler and it skipped the step).
        """
        self.base.zero_grad()
        loss = closure().mean()
        self.backward(loss)
        self.update()
        return loss.detach()

    def backward(self, loss: Tensor, retain_graph: bool = False) -> None:
        """Accumulate the gradient of the 0-dim `loss`, scaled when there is a scaler."""
        self.scaled(loss).backward(retain_graph=retain_graph)

    def scaled(self, value: Tensor) -> Tensor:
        """`value` times the loss scale."""
        return value if self.scaler is None else self.scaler.scale(value)

    def gradients(self) -> list[Tensor]:
        """Those of the base optimizer's parameters that have one."""
        return [w.grad for group in self.base.param_groups for w in group["params"] if w.grad is not None]

    def update(self) -> None:
        """One step of the base optimizer; with a scaler, none if the gradient is not finite on any rank."""
        self.ranks.average(self.gradients())
        if self.scaler is None:
            self.base.step()
        else:
            self.scaler.step(self.base)
            self.scaler.update()


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """BatchNorm normalises with the batch, as in training, but leaves its running statistics as they are.

    Works for `momentum=None` too, where setting the momentum to zero does not.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    tracking = [m for m in norms if m.training and m.track_running_stats]
    for module in tracking:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True


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
