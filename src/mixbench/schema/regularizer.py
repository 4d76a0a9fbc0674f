"""Knobs of the regularizer options: what is minimised besides the loss of the mixed batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from mixbench.schema.knob import knob


@dataclass
class NoRegularizer:
    """The loss of the mixed batch alone.

    Source: none.
    """

    # Of the inputs that it takes, as a data set names its own; None: any. The same in all schemas here.
    kinds: ClassVar[tuple[str, ...] | None] = None
    name: str = "none"


@dataclass
class MixupE:
    """MixupE: an extra loss on the directional derivatives that Mixup regularizes to first order.

    Source: Zou et al., MixupE: Understanding and Improving Mixup from Directional Derivative Perspective, 2023.
    """

    kinds: ClassVar[tuple[str, ...] | None] = None
    name: str = "mixupe"
    eta: float = knob("weight of the extra loss", at_least=0)
    alpha: float = knob("shape of Beta(alpha, beta) in the extra loss's factor E[1-lambda]", above=0)
    beta: float | None = knob("beta of Beta(alpha, beta); null: the same as alpha", default=None, above=0)
    variant: str = knob(
        "derivative by equation 5 (paper) or 4 (exact), or the sign and threshold of the official code",
        choices=["paper", "exact", "official"],
    )
    threshold: float = knob("largest derivative that counts in the official variant")
    detach: bool = knob(
        "hold softmax minus label constant in the extra loss's gradient, as most of the official code",
        default=False,
    )
    samples: str = knob("batch on which the derivative is taken", choices=["original", "mixed"])
    forward: str = knob(
        "mixed and original batch in two forwards, or in one of twice the size",
        choices=["separate", "batched"],
    )
    rescale: bool = knob("scale the sum back to the size of the mixed batch's loss")

    def conflicts(self, run: Any) -> Iterator[str]:
        if self.variant == "exact" and getattr(run.opt, "decompose", "") == "logit":
            yield (
                "opt.decompose=logit: regularizer.variant=exact differentiates through the model's output, which the"
                " logit decomposition cuts; allowed here: gradient."
            )
        if self.variant == "exact" and run.compile:
            yield "compile=true: torch.compile cannot differentiate twice, as regularizer.variant=exact does."


OPTIONS: dict[str, type] = {"none": NoRegularizer, "mixupe": MixupE}
