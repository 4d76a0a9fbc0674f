"""ResizeMix (Qin, Fang, Zhang, Liu, Wang, Wang, arXiv:2012.11101, section 3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from mixbench.augment.base import MaskMix
from mixbench.augment.draws import Draws


class ResizeMix(MaskMix):
    """Paste the whole partner, scaled by tau ~ U(smallest, largest), at a uniform place; the label follows the area.

    The pasted partner has int(tau * side) pixels on each side, at least one, and lies inside the image. It is resized
    by bilinear interpolation, without antialiasing.

    Args:
        num_classes: K, at least 2.
        smallest, largest: bounds of tau, 0 < smallest <= largest <= 1; 0.1 and 0.8 in the paper.
        Others: see `MaskMix`.
    """

    def __init__(self, num_classes: int, smallest: float = 0.1, largest: float = 0.8, **shared: Any) -> None:
        super().__init__(num_classes, **shared)
        if not 0 < smallest <= largest <= 1:
            raise ValueError(f"smallest={smallest}, largest={largest}: must be > 0 and <= 1, in this order")
        self.smallest, self.largest = smallest, largest

    def sample(self, n: int, height: int, width: int, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        """Masks, label weights, and where in the partner each pixel looks: (n, H, W, 2), as `grid_sample` wants it."""
        tau = self.smallest + (self.largest - self.smallest) * draws.uniform(n)
        rows, columns = _side(tau, height, draws), _side(tau, width, draws)
        inside = (rows.abs() < 1)[:, :, None] & (columns.abs() < 1)[:, None, :]
        own = 1 - inside.to(tau.dtype).mean((1, 2))
        grid = torch.stack(
            [columns[:, None, :].expand(inside.shape), rows[:, :, None].expand(inside.shape)], 3
        )
        return (~inside)[:, None].to(tau.dtype), own, grid

    def mixed(self, images: Tensor, mask: Tensor, partners: Tensor, *extra: Tensor) -> Tensor:
        (grid,) = extra
        wide = torch.promote_types(images.dtype, torch.float32)
        looks = grid.to(wide).expand(len(images), -1, -1, -1)
        pasted = grid_sample(images[partners].to(wide), looks, padding_mode="border", align_corners=False)
        return torch.where(mask > 0, images, pasted.to(images.dtype), out=torch.empty_like(images))


def _side(tau: Tensor, length: int, draws: Draws) -> Tensor:
    """(n, length): along one side, where each pixel's centre lies in the pasted image, whose borders are -1 and 1."""
    size = (tau * length).floor().clamp(min=1)
    start = (draws.uniform(len(tau)) * (length - size + 1)).floor()
    pixel = torch.arange(length, device=tau.device, dtype=tau.dtype)
    return (2 * (pixel - start[:, None]) + 1) / size[:, None] - 1
