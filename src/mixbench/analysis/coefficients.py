"""How strongly a mask ties two pixels: a_jk = E[(1 - M_j)(1 - M_k)] (Park, Yun, Chun, NeurIPS 2022, equation 9).

A map over offsets s holds the mean of a_(i, i+s) over the pixels i for which i + s is a pixel (their Figure 4). Boxes
and bumps are products over the two axes, and so are their a_jk: `joint` matrices (n, n) are those of one axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def over_offsets(weights: Tensor) -> Tensor:
    """The map (2H - 1, 2W - 1) of partners' weights 1 - M (n, H, W), mean over the n; offset 0 is in the middle."""
    height, width = weights.shape[1:]
    size = (2 * height - 1, 2 * width - 1)
    transform = torch.fft.rfft2(weights.double(), s=size)
    products = torch.fft.irfft2(transform.abs().square().mean(0), s=size)
    pixels = height - torch.arange(1 - height, height).abs(), width - torch.arange(1 - width, width).abs()
    return torch.fft.fftshift(products) / (pixels[0][:, None] * pixels[1])


def along_axis(joint: Tensor) -> Tensor:
    """(2n - 1,): the means of the diagonals of (n, n), from offset 1 - n to n - 1."""
    n = len(joint)
    return torch.stack([joint.diagonal(offset).mean() for offset in range(1 - n, n)])


def separable(joint: Tensor) -> Tensor:
    """The map of a square mask whose a_jk is the product of `joint` of the rows and of the columns."""
    line = along_axis(joint)
    return line[:, None] * line


def box_inside(lam: float, n: int) -> Tensor:
    """Equation 10: a box of side b = floor(sqrt(1 - lam) n) whose corner is uniform on n - b pixels, never clipped."""
    side = math.floor(math.sqrt(1 - lam) * n)
    pixel = torch.arange(1, n + 1, dtype=torch.float64)
    high, low = pixel.clamp(max=n - side), (pixel - side).clamp(min=0)
    overlap = torch.minimum(high[:, None] - low, high - low[:, None])
    return overlap.clamp(min=0) / (n - side)


def box_clipped(share: float, n: int) -> Tensor:
    """A box [centre - h, centre + h), h = int(n sqrt(share)) // 2, around a uniform pixel: of the n centres the share
    whose box holds both pixels. It is what `augment.cutmix.random_box` draws.
    """
    half = int(n * math.sqrt(share)) // 2
    pixel = torch.arange(n, dtype=torch.float64)
    first = (torch.maximum(pixel[:, None], pixel) - half + 1).clamp(min=0)
    last = (torch.minimum(pixel[:, None], pixel) + half).clamp(max=n - 1)
    return (last - first + 1).clamp(min=0) / n


def bump_in_plane(size: float, n: int) -> Tensor:
    """For exp(-pi |i - p|^2 / size), with p uniform on n^2 pixels, the integral over all of the plane instead of them:
    along one axis sqrt(size / 2) / n exp(-pi d^2 / (2 size)) at distance d. With size = 2 (1 - lam) n^2 the product
    over the axes is equation 11.
    """
    pixel = torch.arange(n, dtype=torch.float64)
    distance = pixel[:, None] - pixel
    return math.sqrt(size / 2) / n * torch.exp(-math.pi * distance**2 / (2 * size))


def bump_clipped(size: float, n: int) -> Tensor:
    """The same as a mean over the n pixels of one axis that the centre really has."""
    pixel = torch.arange(n, dtype=torch.float64)
    bump = torch.exp(-math.pi * (pixel[:, None] - pixel) ** 2 / size)
    return bump @ bump.T / n


def single(joint: Tensor) -> Tensor:
    """The map of E[(1 - M_j)] of the first pixel of each pair, where `joint` is that of a box: (2n - 1, 2n - 1)."""
    chance = joint.diagonal()
    line = torch.stack(
        [chance[max(0, -s) : len(chance) - max(0, s)].mean() for s in range(1 - len(chance), len(chance))]
    )
    return line[:, None] * line


def hmix(lam: float, r: float, n: int, joint: Callable[[float, int], Tensor]) -> Tensor:
    """HMix with the outside weight that the text gives, for boxes of this `joint` of a share (1 - lam) r:
    c^2 + c (1 - c) (P_j + P_k) + (1 - c)^2 P_jk with 1 - M = c outside of the box.
    """
    outside = (1 - lam) * (1 - r) / (1 - (1 - lam) * r)
    box = joint((1 - lam) * r, n)
    alone = single(box)
    both = alone + alone.flip(0, 1)
    return outside**2 + outside * (1 - outside) * both + (1 - outside) ** 2 * separable(box)


def by_enumeration(mask: Callable[[int, int], Tensor], n: int) -> Tensor:
    """The map of a mask that is drawn by a uniform pixel alone: `mask(row, column)` is 1 - M (n, n). All are tried."""
    rows = [over_offsets(torch.stack([mask(row, column) for column in range(n)])) for row in range(n)]
    return torch.stack(rows).mean(0)
