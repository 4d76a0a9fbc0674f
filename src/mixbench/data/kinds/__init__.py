"""The kinds of inputs, as `DataSpec.kind` names them: how the examples of each become batches.

A kind is a module with the functions of `Kind`. A new one is a module and its line in KINDS; the training loop, and
what mixes, minimises and updates, know nothing of it. Which options take which kinds stands in their schemas (`kinds`).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mixbench.data.splits import Split, Splits
from mixbench.schema.specs import DataSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from mixbench.seams import Examples

KINDS = {name: f"mixbench.data.kinds.{name}" for name in ("image", "row", "graph")}


class Kind(Protocol):
    """What a kind's module has. `options` is the data set's option in the config."""

    NOUN: str
    """What inputs of this kind are called, in the plural."""

    def blend(self, inputs: Tensor, weight: Tensor, partners: Tensor) -> Tensor:
        """Inputs (B, ...) mixed with their partners, indices (B,), as Mixup mixes this kind.

        `weight`, of shape (B, 1, ...) or (1, 1, ...), is that of the own input.
        """
        ...

    def placed(self, splits: Splits, options: Any, device: torch.device, root: Path) -> Splits:
        """The loaded set as it is trained on: computed on a device, decoded below the data folder `root`, or as it is.

        Raises DataError for an input that cannot be.
        """
        ...

    def normalisation(self, options: Any, train: Split) -> tuple[list[float], list[float]]:
        """Mean and standard deviation, for each number of an input's last axis: the config's, else those of the
        training part. Both empty for a kind that has none.
        """
        ...

    def in_training(self, options: Any, splits: Splits) -> dict[str, Any]:
        """The keyword arguments of `examples` that hold in training alone: base augmentation, how inputs are read."""
        ...

    def examples(
        self,
        split: Split,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device | str = "cpu",
        channels_last: bool = True,
        **how: Any,
    ) -> Examples:
        """A part of a set as normalised batches on a device, without `how` not augmented."""
        ...

    def fitting(self, inputs: Any, shape: tuple[int, ...], stored: str, wanted: str) -> Any:
        """The inputs as a Split holds them, a single one as a batch of one.

        `shape` is that of an input and `stored` the type that the network was trained on; `wanted` begins the sentence
        that says what is allowed, "run 0123 takes". Raises DataError where they have another shape, type or range.
        """
        ...

    def words(self, options: Any, splits: Splits, train: Examples) -> tuple[str, str, Iterator[str]]:
        """What the inputs are, what is done to them before they are mixed, and further lines on how they are kept."""
        ...


def called(spec: DataSpec) -> str:
    """What the inputs of a data set are called, in the plural."""
    return spec.noun or kind(spec.kind).NOUN


def kind(name: str) -> Kind:
    """The kind of this name. Imports torch."""
    found: Any = importlib.import_module(KINDS[name])
    return found
