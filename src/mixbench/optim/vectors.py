"""Lists of tensors, such as all gradients of a model, as one long vector. Nothing here waits for the device."""

from __future__ import annotations

import torch
from torch import Tensor

Tensors = list[Tensor] | tuple[Tensor, ...]


def norm(tensors: Tensors) -> Tensor:
    """Euclidean length, 0-dim, in at least float32, where the squares of float16 gradients do not overflow."""
    wide = _wide(tensors[0])
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors, 2, dtype=wide)))


def dot(one: Tensors, other: Tensors) -> Tensor:
    """Inner product, 0-dim, accumulated in at least float32."""
    wide = _wide(one[0])
    return torch.stack([product.sum(dtype=wide) for product in torch._foreach_mul(one, other)]).sum()


def along(product: Tensor, square: Tensor) -> Tensor:
    """Of a vector's part along a direction, the factor of the direction: <vector, direction> / ||direction||^2.

    `product` is that inner product and `square` the squared length; 0 where there is no direction.
    """
    return torch.where(square > 0, product / square, 0.0)


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
