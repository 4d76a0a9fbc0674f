"""What all sets share that live on the training device: they are fed as indices, and gather the examples there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mixbench.seams import Fed


class Kept:
    """Labels int64 (N,) on a device, where the examples lie beside them."""

    device: torch.device
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def feed(self, order: Sequence[Tensor], first: int = 0, seed: int | None = None) -> Iterator[Fed]:
        """The indices of each batch from number `first` on, moved to the device at once; nothing is drawn here."""
        for indices in torch.cat([*order]).to(self.device).split([len(batch) for batch in order])[first:]:
            yield (indices,)
