"""Manifold Mixup (Verma et al., Manifold Mixup: Better Representations by Interpolating Hidden States, ICML 2019)."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mixbench.augment.base import blend
from mixbench.augment.draws import Draws
from mixbench.augment.mixup import Mixup, per_example


class ManifoldMixup(Mixup):
    """Mixup of hidden states: per batch, at the input or after a random one of the first stages.

    The call returns the images unmixed, with mixed labels. The mixing happens when exactly that tensor goes
    through the model, each time that it does (both passes of SAM mix alike); any other forward, such as one
    of the clean images, is left alone. Ratio and partners are the same for hidden states and labels.

    Args:
        model: has submodules named stage1, stage2, ... up to `stages`. Hooks stay on it.
        alpha: 2 on CIFAR and SVHN, 0.2 on Tiny-ImageNet in the paper.
        stages: the deepest stage whose output may be mixed, >= 0; 0 is Mixup.
        Others: see `BetaMix`.

    Raises:
        ValueError: the model has no such stage.
        RuntimeError: from the model in training, if it gets another tensor first or only a part of the batch.
    """

    uses_model: ClassVar[bool] = True
    uses_blend: ClassVar[bool] = False

    def __init__(
        self, num_classes: int, alpha: float = 2.0, *, model: nn.Module, stages: int = 2, **shared: Any
    ) -> None:
        super().__init__(num_classes, alpha, **shared)
        named = {name.rpartition(".")[2]: module for name, module in model.named_modules()}
        missing = [f"stage{i}" for i in range(1, stages + 1) if f"stage{i}" not in named]
        if stages < 0 or missing:
            raise ValueError(
                f"stages={stages}: must be >= 0, and the model has no {', '.join(missing) or 'such'}"
            )
        self.stages = stages
        self._stage = 0
        self._batch: Tensor | None = None
        self._weight = self._partners = torch.empty(0)
        self._waiting = self._active = False
        model.register_forward_pre_hook(self._enter)
        for i in range(1, stages + 1):
            named[f"stage{i}"].register_forward_hook(partial(self._after_stage, i))
        model.register_forward_hook(self._leave, always_call=True)

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        lam: float | Tensor | None = None,
        generator: torch.Generator | None = None,
        *,
        choice: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As `MaskMix`, but x shows the images unmixed; it must go to the model as it is.

        `choice` is the stage after which they are mixed, 0 the input; None: it is drawn.
        """
        self._stage = self.choose(images, generator) if choice is None else choice
        return super().__call__(images, labels, lam, generator)

    def choose(self, images: Tensor, generator: torch.Generator | None) -> int:
        """The stage after which these images are mixed; see `seams.Choosing`."""
        return Draws(generator, images.device).choice(self.stages + 1)

    def mixed(self, images: Tensor, mask: Tensor, partners: Tensor, *extra: Tensor) -> Tensor:
        # A tensor of its own, which tells this batch from the same images as a clean batch.
        self._batch = images.view_as(images)
        self._weight, self._partners, self._waiting = mask.flatten(), partners, True
        return self._batch

    def _enter(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        self._active = inputs[0] is self._batch
        if self._waiting and model.training and not self._active:
            raise RuntimeError(
                "manifold_mixup: the model got another batch before the mixed one, or a changed copy of it; it"
                " cannot be used where batches are joined (regularizer.forward=batched) or the model is compiled"
            )
        self._waiting = self._waiting and not self._active
        return (self._hidden(inputs[0]), *inputs[1:]) if self._active and self._stage == 0 else None

    def _after_stage(self, i: int, stage: nn.Module, inputs: tuple, hidden: Tensor) -> Tensor | None:
        return self._hidden(hidden) if self._active and self._stage == i else None

    def _leave(self, *_: object) -> None:
        self._active = False

    def _hidden(self, hidden: Tensor) -> Tensor:
        if len(hidden) != len(self._partners):
            raise RuntimeError(
                f"manifold_mixup: {len(hidden)} of {len(self._partners)} examples reach the stage; it needs the"
                " whole batch in one forward (opt.compute=masked, one device)"
            )
        return blend(hidden, per_example(self._weight, hidden), self._partners)
