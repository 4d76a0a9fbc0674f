"""Knobs of the schedule options: how the learning rate changes during training."""

from __future__ import annotations

from collections.abc import Iterator
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

    def never(self, epochs: int) -> Iterator[str]:
        """What of the schedule does not happen in a training of so many epochs, and what happens instead."""
        if self.warmup_epochs > epochs:
            reached = self.warmup_start + (1 - self.warmup_start) * epochs / self.warmup_epochs
            yield (
                f"schedule.warmup_epochs={self.warmup_epochs:g} is more than epochs={epochs}: the learning rate only"
                f" rises, to {reached:.3g} of opt.lr"
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

    def mistakes(self) -> Iterator[str]:
        """What nobody means to ask for."""
        if 1 in self.milestones and any(m < 1 for m in self.milestones):
            yield (
                f"schedule.milestones={self.milestones}: 1 would be epoch 1, not the end of training, where nothing is"
                " left to drop for; leave it out, or write all of them as epochs (numbers from 1 on)."
            )

    def never(self, epochs: int) -> Iterator[str]:
        yield from super().never(epochs)
        if late := [m for m in self.milestones if m >= max(1, epochs)]:
            yield (
                f"schedule.milestones={self.milestones}: of epochs={epochs}, {', '.join(f'{m:g}' for m in late)}"
                f" {'is' if len(late) == 1 else 'are'} never reached, and the learning rate does not drop there"
            )


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
