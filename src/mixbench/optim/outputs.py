"""Hooks on the model's output: the two-pass rules see only a closure, yet select among its examples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

NOT_CALLED = (
    "the closure did not call the model that the rule was made with; this rule needs its hooks, so the model must"
    " not be compiled or wrapped in between"
)


@contextmanager
def recorded(model: nn.Module, *, cut: bool = False) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Collect the outputs of every call of `model` inside, as pairs (output, what the caller received).

    Both are the same tensor, unless `cut`: then the caller receives a leaf of the same values, so that
    gradients stop there and can be changed before they go on into the model.

    Raises:
        RuntimeError: `model` was not called.
    """
    outputs: list[tuple[Tensor, Tensor]] = []

    def record(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        received = output.detach().requires_grad_() if cut else output
        outputs.append((output, received))
        return received

    hook = model.register_forward_hook(record)
    try:
        yield outputs
    finally:
        hook.remove()
    if not outputs:
        raise RuntimeError(NOT_CALLED)


@contextmanager
def restricted(model: nn.Module, rows: Tensor, batch: int, known: list[Tensor]) -> Iterator[None]:
    """Inside, `model` computes only the given examples of a batch; the caller still gets an output for all.

    `rows` (k,) are indices of examples; the outputs of the others are taken from `known`, those of the same
    calls on the whole batch, without a gradient. An input that holds the batch several times over (as when
    two batches of it go through in one forward) is restricted in each.

    Raises:
        RuntimeError: `model` was not called as often as for `known`.
    """
    remaining = iter(known)

    def repeated(copies: int) -> Tensor:
        offsets = batch * torch.arange(copies, device=rows.device)
        return (offsets[:, None] + rows).flatten()

    def narrow(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(x[repeated(len(x) // batch)] for x in inputs)

    def widen(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return next(remaining).index_copy(0, repeated(len(output) // len(rows)), output)

    hooks = [model.register_forward_pre_hook(narrow), model.register_forward_hook(widen)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    if next(remaining, None) is not None:
        raise RuntimeError(NOT_CALLED)
