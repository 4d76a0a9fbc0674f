"""Other people's SAM as a subject: that of the package pytorch_optimizer, in our loop, in the place of our rule.

Batches, mixing, model, precision, memory format, metrics and the optimizer below are then the same, and what the two
differ in is SAM alone: norm, perturbation, restoring. `mixbench bench --loop plain` times it where it is installed.
"""

from __future__ import annotations

import importlib.util
from importlib import metadata
from typing import Any

import torch
from torch import Tensor, nn

from mixbench.bench.subjects import Subject, made_up, of_loop
from mixbench.data import Splits
from mixbench.engine.loop import Loop
from mixbench.optim import Descent
from mixbench.schema.train import Train
from mixbench.seams import Closure
from mixbench.training.build import build_loop

PACKAGE = "pytorch_optimizer"


def version() -> str | None:
    """The package's version; None where it is not installed."""
    return metadata.version(PACKAGE) if importlib.util.find_spec(PACKAGE) else None


class PackagedSAM(Descent):
    """pytorch_optimizer's SAM around torch's SGD, as its documentation has it: gradients, then `step(closure)`.

        delta = rho * g / (||g|| + 1e-12)

    The weights are put back from a copy. Both passes move the running statistics of BatchNorm, as ours do with
    bn_stats="both", and the second one has dropout masks of its own. SGD is fused, as ours is.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        rho: float,
        lr: float,
        momentum: float,
        nesterov: bool,
        weight_decay: float,
    ) -> None:
        from pytorch_optimizer import SAM

        self._sam: Any = SAM(
            model.parameters(),
            torch.optim.SGD,
            rho=rho,
            lr=lr,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            fused=True,
        )
        super().__init__(model, self._sam.base_optimizer)

    def step(self, *parts: Closure) -> Tensor:
        """As `Descent.step`, with the gradient at w + delta; returns the mean loss at w."""
        self.base.zero_grad()
        loss, _ = self.accumulate(parts)
        self._sam.step(lambda: self.accumulate(parts))  # which has cleared the gradients before it calls
        return loss


def packaged_loop(config: Train, device: torch.device, splits: Splits) -> Loop:
    """Our loop with the package's SAM in place of ours; `config` is one of opt=sam around SGD."""
    loop, opt = build_loop(config, device, splits), config.opt
    loop.rule = PackagedSAM(
        loop.model,
        rho=opt.rho,
        lr=opt.lr,
        momentum=opt.momentum,
        nesterov=opt.nesterov,
        weight_decay=opt.weight_decay,
    )
    return loop


def packaged_subject(name: str, config: Train, device: torch.device) -> Subject:
    """A step of `packaged_loop` on made-up images."""
    loop = packaged_loop(config, device, made_up(config.dataset.spec()))
    return of_loop(f"{name}, {PACKAGE}", config, loop)
