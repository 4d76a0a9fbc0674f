"""Learning-rate schedules: pure functions from the progress of training to a factor of the learning rate.

Each is called before every step as `SCHEDULES[name](progress, epochs, **knobs)`. `progress` counts the epochs
trained so far, fractions included (steps done / steps per epoch): 0 <= progress < epochs.

All begin with a linear warm-up over `warmup_epochs` epochs (0: none), from `warmup_start` to `warmup_end` times the
learning rate; that is 1 in Goyal et al., Accurate, Large Minibatch SGD, 2017, section 2.2. With `warmup_by="epoch"` all
steps of an epoch have the rate of its first one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence


def ramp(
    progress: float,
    warmup_epochs: float,
    warmup_start: float,
    warmup_end: float = 1.0,
    warmup_by: str = "step",
) -> float:
    """The warm-up's factor: `warmup_start` at progress 0, linearly towards `warmup_end` at `warmup_epochs`; then 1."""
    if progress >= warmup_epochs:
        return 1.0
    done = math.floor(progress) if warmup_by == "epoch" else progress
    return warmup_start + (warmup_end - warmup_start) * done / warmup_epochs


def constant(
    progress: float,
    epochs: int,
    *,
    warmup_epochs: float = 0.0,
    warmup_start: float = 0.1,
    warmup_end: float = 1.0,
    warmup_by: str = "step",
) -> float:
    """The initial learning rate throughout."""
    return ramp(progress, warmup_epochs, warmup_start, warmup_end, warmup_by)


def step(
    progress: float,
    epochs: int,
    *,
    milestones: Sequence[float] = (0.65, 0.85),
    factor: float = 0.1,
    warmup_epochs: float = 0.0,
    warmup_start: float = 0.1,
    warmup_end: float = 1.0,
    warmup_by: str = "step",
) -> float:
    """Times `factor` at each milestone: a fraction of all epochs where it is below 1, else an epoch.

    Milestones count from the beginning of training, warm-up included.
    """
    # 0.07 * 100 is 7.000000000000001: without the tolerance the drop at epoch 7 would come one step late.
    passed = sum(progress >= (m * epochs if m < 1 else m) - 1e-9 for m in milestones)
    return factor**passed * ramp(progress, warmup_epochs, warmup_start, warmup_end, warmup_by)


def cosine(
    progress: float,
    epochs: int,
    *,
    final: float = 0.0,
    warmup_epochs: float = 0.0,
    warmup_start: float = 0.1,
    warmup_end: float = 1.0,
    warmup_by: str = "step",
) -> float:
    """Half a cosine from 1, at the end of the warm-up, to `final`, at the end of training.

    Loshchilov & Hutter, SGDR, ICLR 2017, eq. 5, without restarts.
    """
    if progress < warmup_epochs:
        return ramp(progress, warmup_epochs, warmup_start, warmup_end, warmup_by)
    fraction = (progress - warmup_epochs) / (epochs - warmup_epochs)
    return final + (1 - final) * (1 + math.cos(math.pi * fraction)) / 2


SCHEDULES: dict[str, Callable[..., float]] = {"step": step, "cosine": cosine, "constant": constant}
