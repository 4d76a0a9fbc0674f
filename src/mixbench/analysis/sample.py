"""The same examples for all runs, and their pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from mixbench.data.order import derived_seed
from mixbench.errors import DataError
from mixbench.seams import Examples, Network

Batches = list[tuple[Tensor, Tensor]]


def drawn(examples: Examples, n: int, batch_size: int) -> Batches:
    """At most `n` of the examples, in their order and not augmented: inputs (B, ...) and labels (B,). Which ones
    depends on `n` and on the size of the set alone.
    """
    generator = torch.Generator().manual_seed(derived_seed("examples of evaluations"))
    order = torch.randperm(len(examples), generator=generator)[:n].sort().values.split(batch_size)
    return [examples.batch(fed, None) for fed in examples.feed(order)]


class PixelRange:
    """Normalised images (B, C, H, W) as pixels in [0, 1], and back. Raises DataError for a run on float images, whose
    pixels have no known range.
    """

    def __init__(self, network: Network) -> None:
        if network.stored != "uint8":
            raise DataError(
                "attacks and corruptions take images that are stored as bytes; this run's are floats of no known range."
            )
        mean, std = (torch.tensor([*values], device=network.device) for values in (network.mean, network.std))
        self.mean, self.std = mean.view(-1, 1, 1), std.view(-1, 1, 1)

    def pixels(self, images: Tensor) -> Tensor:
        """In [0, 1], whole numbers of 1/255 as far as float32 has them."""
        return (images * self.std + self.mean).clamp(0, 1)

    def normalised(self, pixels: Tensor) -> Tensor:
        """What the network takes."""
        return (pixels - self.mean) / self.std
