"""The seams of training as types: what feeds a step, what mixes it, what is minimised, how that becomes an update, and
what is measured on finished weights.

The loop knows these protocols and none of their members; mypy checks every member of a registry against its own. A step

    inputs, labels = examples.batch(fed, generator)
    x, y           = augment(inputs, labels, generator=generator)
    losses, logits = objective(model, x, y, inputs, labels, loss)
    loss           = rule.step(lambda: losses)

asks no member which one it is, and does not know what a pixel is: inputs are a tensor whose first axis counts examples.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Closure = Callable[[], Tensor]
# What the host hands over for one batch: tensors on any device, each with the batch on its first axis.
Fed = tuple[Tensor, ...]
Loss = Callable[[Tensor, Tensor], Tensor]


class Examples(Protocol):
    """One split of a data set: labelled examples that become batches on the training device.

    A set that lives on the device is fed indices and gathers the examples in `batch`, where a CUDA graph can record it.
    A streamed set is fed the examples themselves, read ahead by workers from the step that training goes on with.
    """

    def __len__(self) -> int: ...

    def feed(self, order: Sequence[Tensor], first: int = 0, seed: int | None = None) -> Iterator[Fed]:
        """What `batch` takes, for each batch of `order` (indices, int64 (B,), on the CPU) from number `first` on.

        What is drawn before the device, such as the crop of a photograph, is drawn from `seed` and the number of the
        batch; None: nothing is. All batches of one size have fed tensors of the same shapes and types.
        """
        ...

    def batch(self, fed: Fed, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Inputs (B, ...) floating and labels int64 (B,) on the device; never waits for it.

        The base augmentation is drawn from `generator`; None: there is none.
        """
        ...

    def eval_batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The whole set in order, not augmented; the last batch may be smaller."""
        ...

    def mean_input(self) -> Tensor | None:
        """The mean of all inputs, float32, without augmentation and without the batch axis; None: they have none."""
        ...


class Augment(Protocol):
    """What the model is fed: a batch mixed with itself."""

    uses_model: ClassVar[bool]
    """Whether it is built with the model, and looks at it or changes its forward."""

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        lam: float | Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """x of the shape of `images` (B, ...) and soft targets y (B, K) float32.

        `lam` in [0, 1], one or (B,), is the ratio instead of a drawn one. Raises ValueError for inputs that it cannot
        mix, and for a ratio where it has none.
        """
        ...


@runtime_checkable
class Choosing(Protocol):
    """What an augmentation or a rule has besides, if the host decides from step to step which operations it runs.

    The loop asks exactly once for each step, and hands the answer on as `choice=`, which the call or `step` takes
    besides; where they are called without one, they decide by themselves. A CUDA graph is recorded for each answer.
    """

    def choose(self, images: Tensor, generator: torch.Generator) -> Hashable:
        """What the step with these un-mixed images does, never None; may count the step, and never waits for the
        device. What is random comes from `generator`.
        """
        ...


class Objective(Protocol):
    """What is minimised."""

    uses_mean_image: ClassVar[bool]
    """Whether it is built with the mean input of the training set."""

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, images: Tensor, labels: Tensor, loss: Loss
    ) -> tuple[Tensor, Tensor]:
        """Losses (B,) of the mixed batch x, y, made from the un-mixed images and labels; and the logits (B, K) of x."""
        ...


class Rule(Protocol):
    """How the losses become an update. It owns what it keeps from step to step."""

    base: torch.optim.Optimizer
    scaler: torch.amp.GradScaler | None

    @property
    def alike(self) -> bool:
        """Whether all steps run the same operations, so that one that was recorded stands for all; where it is
        `Choosing`, all steps of one choice.
        """
        ...

    def step(self, *parts: Closure) -> Tensor:
        """Update the weights with the losses (B / n,) that n closures give of equal parts of one batch.

        Returns the mean loss at the weights before the update: 0-dim, detached, on the device.
        """
        ...

    def tensors(self) -> list[Tensor]:
        """What a step changes besides weights, buffers and the optimizer's memory."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a resume needs besides the base optimizer and the scaler; empty where there is nothing."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        ...


class Network(Protocol):
    """Finished weights, ready to be measured.

    `model` is in evaluation mode on `device`. `autocast` is the arithmetic that it was trained in, `batch_size` the
    number of examples in a forward. `stored` is the type of the inputs that it was trained on, uint8 or float32, `mean`
    and `std` their normalisation for each channel, where uint8 counts as [0, 1].
    """

    model: nn.Module
    device: torch.device
    autocast: torch.autocast
    class_names: Sequence[str]
    batch_size: int
    stored: str
    mean: Sequence[float]
    std: Sequence[float]

    def logits(self, examples: Examples) -> Sequence[tuple[Tensor, Tensor]]:
        """Logits (B, K) float32 and labels int64 (B,) of each batch of a set, on the device; kept once computed."""
        ...


class Evaluator(Protocol):
    """What is measured on finished weights."""

    def __call__(self, network: Network, examples: Examples, **options: Any) -> dict[str, Any]:
        """The measurement as JSON has it: numbers, texts, lists and dictionaries by name. `options` are all that its
        schema in `analysis.options` has.
        """
        ...
