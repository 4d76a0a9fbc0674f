"""What every layer does by itself in a forward pass although it is one small operation, done for all layers at once.

A GPU starts such an operation no faster than it computes it, and a network of 16 layers has dozens of them in a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

# Of these classes alone: a class derived from one may do something else with its weights, or its counter.
CAST = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)  # autocast has their weights in half precision
COUNTING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class AtOnce:
    """Weights in half precision, and BatchNorm's counters of batches, of the passes of a loss.

    Numbers, gradients and counters are, bit for bit, those of the passes under autocast alone. It casts each weight in
    its turn, keeps that copy to the end of the block, and casts each copy's gradient back; here one operation on a list
    makes all the copies and one their gradients, and another one adds to all counters.

    `model` must not be compiled, `dtype` is autocast's.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        layers = list(model.modules())
        cast = [layer for layer in layers if type(layer) in CAST] if dtype != torch.float32 else []
        self.dtype = dtype
        self.places = [
            (layer._parameters, name, weight)
            for layer in cast
            for name, weight in layer._parameters.items()
            if weight is not None and weight.requires_grad
        ]
        own = {id(weight): weight for _, _, weight in self.places}  # one may be in two places
        self.weights = list(own.values())
        self.counters = [
            (layer._buffers, counter)
            for layer in layers
            # Without a momentum, a pass reads the counter.
            if type(layer) in COUNTING and layer.momentum is not None
            if (counter := layer._buffers["num_batches_tracked"]) is not None
        ]

    @contextmanager
    def passes(self) -> Iterator[None]:
        """Around all forward passes of one loss, inside autocast."""
        copies = dict(zip(map(id, self.weights), _cast(self.dtype, *self.weights), strict=True))
        counts = [_Count() for _ in self.counters]
        try:
            for parameters, name, weight in self.places:
                parameters[name] = copies[id(weight)]  # type: ignore[assignment]
            for (buffers, _), count in zip(self.counters, counts, strict=True):
                buffers["num_batches_tracked"] = count  # type: ignore[assignment]
            yield
        finally:
            for parameters, name, weight in self.places:
                parameters[name] = weight
            for buffers, counter in self.counters:
                buffers["num_batches_tracked"] = counter
        moved = [(own, count.n) for (_, own), count in zip(self.counters, counts, strict=True) if count.n]
        if moved:
            torch._foreach_add_([counter for counter, _ in moved], [n for _, n in moved])


class _Count:
    """Stands for a counter that BatchNorm adds to."""

    n = 0

    def add_(self, n: int) -> None:
        self.n += n


def _cast(dtype: torch.dtype, *tensors: Tensor) -> tuple[Tensor, ...]:
    return _Cast.apply(dtype, *tensors) if tensors else ()


class _Cast(torch.autograd.Function):
    """Copies of tensors of one dtype in another one. The gradient of a copy that was not used is None, not zeros."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.dtype = tensors[0].dtype
        copies = [torch.empty_like(tensor, dtype=dtype) for tensor in tensors]
        torch._foreach_copy_(copies, tensors)
        return tuple(copies)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        given = iter(_cast(ctx.dtype, *(g for g in gradients if g is not None)))
        return None, *(None if g is None else next(given) for g in gradients)
