"""Knobs of the schedule options: how the learning rate changes during training."""

from __future__ import annotations

from dataclasses import dataclass

from mixbench.schema.knob import MISSING, knob


@dataclass
class Schedule:
    """What all schedules share: the warm-up."""

    name: str = MISSING
    warmup_epochs: float = knob("length of the linear warm-up, in epochs; 0 for none", at_least=0)
    warmup_start: float = knob("where the warm-up begins, relative to opt.lr", at_least=0, at_most=1)
    warmup_end: float = knob(
        "where the warm-up ends, relative to opt.lr, which follows it", default=1.0, at_least=0, at_most=10
    )
    warmup_by: str = knob(
        "whether the warm-up's rate changes at every step or every epoch",
        default="step",
        choices=["step", "epoch"],
    )


@dataclass
class Step(Schedule):
    """Learning rate times a factor at fixed epochs.

    Source: milestones 0.65 and 0.85 of the epochs: Li & Tang, G-Mix, IEEE TAI 2025.
    """

    name: str = "step"
    milestones: list[float] = knob(
        "when to drop: fractions of all epochs (below 1) or epochs (from 1 on)", above=0
    )
    factor: float = knob("learning rate is multiplied by this at each milestone", above=0, at_most=1)


@dataclass
class Cosine(Schedule):
    """Learning rate falls along half a cosine, to zero or a final fraction.

    Source: Loshchilov & Hutter, SGDR, ICLR 2017 (without restarts).
    """

    name: str = "cosine"
    final: float = knob("learning rate at the end of training, relative to opt.lr", at_least=0, at_most=1)


@dataclass
class Constant(Schedule):
    """Learning rate stays as it is.

    Source: the Adam runs of Zou et al., MixupE, UAI 2023 (tables 4 and 5).
    """

    name: str = "constant"


OPTIONS: dict[str, type] = {"step": Step, "cosine": Cosine, "constant": Constant}
