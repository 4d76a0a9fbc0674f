"""Moving the blocks of images so that salient ones lie where a mask shows them: PuzzleMix's transport."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_transport(saliency: Tensor, visible: Tensor, eps: float) -> Tensor:
    """For each position of an n x n grid, which block of the image shall lie there.

    Block i at position j costs eps * C_ij - saliency_i * visible_j, with C the squared distance on the grid in
    units of its side. In n rounds every block names the position where it costs least; of those that name the
    same one the cheapest gets it, and the others find it dearer by 1 in the next round (Kim et al., ICML 2020,
    masked transport). A visible position is always taken, at first by its own block; one that nobody wants
    keeps its block, which nobody sees.

    Args:
        saliency: (B, n, n), >= 0, each map with sum 1.
        visible: (B, n, n) bool: where the mask shows this image at all.
        eps: price of distance, > 0 (without a price, equal positions are taken at random).

    Returns:
        (B, n * n) int64 indices of blocks, row by row.
    """
    batch, side, _ = saliency.shape
    count = side * side
    axis = torch.arange(side, device=saliency.device)
    place = torch.cartesian_prod(axis, axis)
    distance = (place[:, None] - place).square().sum(-1).to(saliency.dtype) / max(side - 1, 1) ** 2
    cost = eps * distance - saliency.reshape(batch, count, 1) * visible.reshape(batch, 1, count)
    block = torch.arange(count, device=saliency.device).expand(batch, count)
    nobody = torch.full_like(block, count)
    for _ in range(side):
        price, wanted = cost.min(2)
        lowest = torch.full_like(price, torch.inf).scatter_reduce(1, wanted, price, "amin")
        cheapest = torch.where(price == lowest.gather(1, wanted), block, count)
        winner = nobody.scatter_reduce(1, wanted, cheapest, "amin")
        lost = winner.gather(1, wanted) != block
        # scatter_add_ would do, but has no deterministic kernel on a GPU.
        cost += lost[..., None] & (wanted[..., None] == block[0])
    return torch.where(winner < count, winner, block)


def arrange(images: Tensor, blocks: Tensor) -> Tensor:
    """Images (B, C, H, W) with the block `blocks[:, j]` (B, n * n) at position j; n divides H and W."""
    side = round(blocks.shape[1] ** 0.5)
    tiles = images.unflatten(3, (side, -1)).unflatten(2, (side, -1))
    tiles = tiles.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    moved = tiles.take_along_dim(blocks[:, :, None, None, None], dim=1)
    rows = moved.unflatten(1, (side, side)).permute(0, 3, 1, 4, 2, 5)
    return rows.flatten(4, 5).flatten(2, 3)
