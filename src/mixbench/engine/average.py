"""An exponential moving average of weights and BatchNorm statistics, evaluated and kept in their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class MovingAverage:
    """a <- decay * a + (1 - decay) * w after every step, for all floating parameters and buffers of `model`.

    It begins as a copy of the weights after the first step, without a correction of the start, as
    torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn and use_buffers=True. `decay` in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.current = [t for t in model.state_dict(keep_vars=True).values() if t.is_floating_point()]
        self.average = [t.detach().clone() for t in self.current]
        self.started = False

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights after a step into account. Does not wait for the device."""
        if self.started:
            torch._foreach_lerp_(self.average, self.current, 1 - self.decay)
        else:
            torch._foreach_copy_(self.average, self.current)
            self.started = True

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model holds the averages inside, and its own weights again, bit for bit, after it."""
        own = [t.detach().clone() for t in self.current]
        self._set(self.average)
        try:
            yield
        finally:
            self._set(own)

    @torch.no_grad()
    def _set(self, values: list[Tensor]) -> None:
        torch._foreach_copy_(self.current, values)

    def state_dict(self) -> dict[str, Any]:
        """What a resume needs."""
        return {"average": self.average, "started": self.started}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        for average, saved in zip(self.average, state["average"], strict=True):
            average.copy_(saved)
        self.started = state["started"]
