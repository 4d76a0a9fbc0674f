"""Knobs of the opt options: how the losses become an update."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mixbench.schema.knob import knob


@dataclass
class SGD:
    """Stochastic gradient descent with momentum.

    Source: torch.optim.SGD.
    """

    name: str = "sgd"
    lr: float = knob("learning rate at the schedule's factor 1", above=0)
    momentum: float = knob("share of the last step that is kept", at_least=0, below=1)
    nesterov: bool = knob("Nesterov's form of momentum")
    weight_decay: float = knob("weight_decay * w is added to the gradient", at_least=0)

    def problems(self) -> list[str]:
        """What is wrong with the knobs together."""
        alone = self.nesterov and self.momentum == 0
        return ["opt.nesterov=true: needs opt.momentum > 0."] if alone else []


@dataclass
class Adam:
    """Adam.

    Source: Kingma, Ba, Adam: A Method for Stochastic Optimization, ICLR 2015; torch.optim.Adam.
    """

    name: str = "adam"
    lr: float = knob("learning rate at the schedule's factor 1", above=0)
    beta1: float = knob("decay rate of the gradient's running mean", at_least=0, below=1)
    beta2: float = knob("decay rate of the squared gradient's running mean", at_least=0, below=1)
    eps: float = knob("added to the denominator", above=0)
    weight_decay: float = knob("weight_decay * w is added to the gradient", at_least=0)


@dataclass
class AdamW(Adam):
    """AdamW: Adam with weight decay apart from the gradient.

    Source: Loshchilov, Hutter, Decoupled Weight Decay Regularization, ICLR 2019; torch.optim.AdamW.
    """

    name: str = "adamw"
    weight_decay: float = knob("share of w taken off per step, times lr", at_least=0)


@dataclass
class SAM(SGD):
    """Sharpness-aware minimization on SGD: the gradient is taken where the loss is highest nearby.

    Source: Foret et al., Sharpness-Aware Minimization, ICLR 2021. With augment=mixup it is G-Mix (Li & Tang).
    """

    name: str = "sam"
    rho: float = knob("length of the ascent step in weight space", at_least=0)
    perturb: str = knob(
        "parameters that the ascent moves: all, or those with two or more dimensions",
        choices=["all", "no_norm_bias"],
    )
    bn_stats: str = knob("passes that move BatchNorm's running statistics", choices=["first", "both"])
    decay_in_ascent: bool = knob("add weight_decay * w to the ascent's gradient")
    ascent: str = knob(
        "with devices > 1: along the gradient of each device's part of the batch, or of the whole batch; examples are"
        " selected (bgmix, dgmix) from the same part or whole",
        choices=["per_device", "synchronised"],
        default="per_device",
    )


@dataclass
class ASAM(SAM):
    """Adaptive SAM on SGD: SAM's ascent step, measured relative to the size of each weight.

    Source: Kwon et al., ASAM: Adaptive Sharpness-Aware Minimization, ICML 2021.
    """

    name: str = "asam"
    eta: float = knob("added to |w|, by which the ascent is scaled", at_least=0)


@dataclass
class BGMix(SAM):
    """Binary G-Mix on SGD: SAM that learns only from the examples whose loss the ascent raises most.

    Source: Li, Tang, G-Mix: A Generalized Mixup Learning Framework Towards Flat Minima, section IV. Made for
    augment=mixup.
    """

    name: str = "bgmix"
    gamma: float = knob("share of the batch that is kept", above=0, at_most=1)
    compute: str = knob(
        "one forward of the whole batch, or a forward to select and then the kept part alone",
        choices=["masked", "subset"],
    )

    def conflicts(self, run: Any) -> Iterator[str]:
        """What does not go together with the rest of the run."""
        if self.compute == "subset" and self.ascent == "synchronised" and run.devices > 1:
            yield (
                "opt.compute=subset: a selection from the whole batch leaves each device another number of examples;"
                " allowed with opt.ascent=synchronised: masked."
            )


@dataclass
class DGMix(SAM):
    """Decomposed G-Mix on SGD: Binary G-Mix plus the part of the other examples' gradient across it.

    Source: Li, Tang, G-Mix: A Generalized Mixup Learning Framework Towards Flat Minima, section IV. Made for
    augment=mixup.
    """

    name: str = "dgmix"
    gamma: float = knob("share of the batch that counts as sensitive", above=0, at_most=1)
    decompose: str = knob(
        "where the other examples are projected: in parameter space (one more backward pass) or in logits",
        choices=["gradient", "logit"],
    )


OPTIONS: dict[str, type] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "sam": SAM,
    "asam": ASAM,
    "bgmix": BGMix,
    "dgmix": DGMix,
}
