"""torch's optimizers without torch's compiler, whose import is half of a run's start-up."""

from __future__ import annotations

import inspect
import weakref
from typing import Any

import torch
from torch.optim import Optimizer


def eager(kind: type[Optimizer], parameters: list[torch.nn.Parameter], **options: Any) -> Optimizer:
    """`kind(parameters, **options)`, for use outside compiled code.

    Some methods of torch.optim call the compiler's `disable` or `graph_break`, which matter only within compiled code
    and import torch._dynamo: 1.0 of the 2.4 s from the prompt to the first step (`mixbench bench --startup`). Here
    they are called directly. We compile the model's forward alone. Step hooks and the profiler's mark of a step are
    passed over as well. Where torch is built otherwise, this is the plain optimizer.
    """
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        method = getattr(getattr(Optimizer, name), "__wrapped__", None)
        if method is not None:
            method.__dict__.setdefault("__dynamo_disable", method)
    optimizer = kind(parameters, **options)
    step = inspect.unwrap(kind.step)
    held = weakref.ref(optimizer)  # in a circle with it, its memory would outlive a run

    @torch.no_grad()
    def direct() -> None:
        step(held())

    optimizer.step = direct  # type: ignore[method-assign, assignment]
    return optimizer
