"""Rotated, sheared and zoomed images, as in the evaluation of Zou et al. (MixupE, UAI 2023, Table 8)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from mixbench.analysis.deformations import DEFORMATIONS
from mixbench.data.order import derived_seed


def matrices(name: str, n: int) -> Tensor:
    """The matrices (n, 2, 2), float64 on the CPU, of the first `n` images of a test set deformed by `name`.

    They map places in the result to places in the image, as (row, column). Angles depend on `name` and on the image's
    place in the set alone: every run and every method is tested on the same deformed images.
    """
    kind, amount = DEFORMATIONS[name]
    if kind == "zoom":  # below 1 a smaller part of the image fills the result
        return amount * torch.eye(2, dtype=torch.float64).expand(n, 2, 2)
    generator = torch.Generator().manual_seed(derived_seed("deformed test images", name))
    angle = amount * (2 * torch.rand(n, dtype=torch.float64, generator=generator) - 1)
    sine, cosine = angle.sin(), angle.cos()
    first = cosine if kind == "rotation" else torch.ones_like(angle)
    second = sine if kind == "rotation" else torch.zeros_like(angle)
    return torch.stack([first, -sine, second, cosine], 1).view(n, 2, 2)


def warp(images: Tensor, matrix: Tensor) -> Tensor:
    """`images` (B, C, H, W) with the pixel at `matrix` (B, 2, 2) @ (place - centre) + centre at each place.

    Nearest neighbour; places outside the image become 0, which is the mean colour of a normalised image. The centre is
    (H/2 + 1/2, W/2 + 1/2) with pixels counted from 0, one pixel beyond the middle, as in the transforms that the
    authors of MixupE and of Manifold Mixup used.
    """
    batch, channels, height, width = images.shape
    size = torch.tensor([height, width], dtype=torch.float64)
    centre = size / 2 + 0.5
    place = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float64) for n in (height, width)))
    # On the CPU in float64, so that a place midway between two pixels gives the same one on every device.
    source = place @ matrix.mT + (centre - matrix @ centre)[:, None]
    inside = ((source >= 0) & (source <= size - 1)).all(2)
    row, column = (source + 0.5).floor().long().unbind(2)
    pixel = torch.where(inside, row * width + column, 0).to(images.device)
    found = images.flatten(2).gather(2, pixel[:, None].expand(batch, channels, -1))
    return torch.where(inside.to(images.device)[:, None], found, 0).view_as(images)


def deformed(batches: Iterable[tuple[Tensor, Tensor]], name: str, n: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The `batches` (images, labels) of a test set of `n` images, in its order, deformed by `name`."""
    matrix, start = matrices(name, n), 0
    for images, labels in batches:
        yield warp(images, matrix[start : start + len(images)]), labels
        start += len(images)
