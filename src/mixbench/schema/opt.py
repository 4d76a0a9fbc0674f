"""Knobs of the opt options: how the losses become an update."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
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
    """Sharpness-aware minimization: the gradient is taken where the loss is highest nearby.

    Source: Foret et al., Sharpness-Aware Minimization, ICLR 2021. With augment=mixup it is G-Mix (Li & Tang).
    """

    name: str = "sam"
    momentum: float = knob("share of the last step that is kept; of base=sgd alone", at_least=0, below=1)
    nesterov: bool = knob("Nesterov's form of momentum; of base=sgd alone")
    weight_decay: float = knob(
        "weight_decay * w is added to the gradient; base=adamw: share of w taken off per step, times lr",
        at_least=0,
    )
    rho: float = knob("length of the ascent step in weight space", at_least=0)
    perturb: str = knob(
        "parameters that the ascent moves: all, or those with two or more dimensions",
        choices=["all", "no_norm_bias"],
    )
    bn_stats: str = knob("passes that move BatchNorm's running statistics", choices=["first", "both"])
    decay_in_ascent: bool = knob("add weight_decay * w to the ascent's gradient; not with base=adamw")
    ascent: str = knob(
        "with devices > 1: along the gradient of each device's part of the batch, or of the whole batch; examples are"
        " selected (bgmix, dgmix) from the same part or whole",
        choices=["per_device", "synchronised"],
        default="per_device",
    )
    base: str = knob(
        "optimizer that steps from w with the gradient found; the default lr is one for sgd",
        choices=["sgd", "adam", "adamw"],
        default="sgd",
    )
    beta1: float = knob(
        "decay rate of the gradient's running mean; of base=adam and adamw alone",
        default=0.9,
        at_least=0,
        below=1,
    )
    beta2: float = knob(
        "decay rate of the squared gradient's running mean; of base=adam and adamw alone",
        default=0.999,
        at_least=0,
        below=1,
    )
    eps: float = knob("added to the denominator; of base=adam and adamw alone", default=1e-8, above=0)

    def problems(self) -> list[str]:
        """What is wrong with the knobs together."""
        found = super().problems() if self.base == "sgd" else []
        if self.base == "sgd":
            own = {
                field.name: field.default for field in fields(self) if field.name in ("beta1", "beta2", "eps")
            }
            found += [
                f"opt.{name}={getattr(self, name):g}: has no effect with opt.base=sgd; allowed there: {value:g}."
                for name, value in own.items()
                if getattr(self, name) != value
            ]
        if self.decay_in_ascent and self.base == "adamw":
            found.append(
                "opt.decay_in_ascent=true: AdamW's weight decay is no part of the loss; allowed with opt.base=adamw:"
                " false."
            )
        return found


@dataclass
class ASAM(SAM):
    """Adaptive SAM: SAM's ascent step, measured relative to the size of each weight.

    Source: Kwon et al., ASAM: Adaptive Sharpness-Aware Minimization, ICML 2021.
    """

    name: str = "asam"
    eta: float = knob("added to |w|, by which the ascent is scaled", at_least=0)


@dataclass
class GSAM(SAM):
    """Surrogate gap guided SAM: SAM that also lowers how far the ascent raises the loss.

    Source: Zhuang et al., Surrogate Gap Minimization Improves Sharpness-Aware Training, ICLR 2022.
    """

    name: str = "gsam"
    alpha: float = knob(
        "weight of the gradient at w, where it is orthogonal to that after the ascent", at_least=0
    )
    rho_min: float | None = knob(
        "length of the ascent step where the learning rate is zero; from there to rho it follows the learning rate;"
        " null: always rho",
        at_least=0,
    )

    def problems(self) -> list[str]:
        found = super().problems()
        if self.rho_min is not None and self.rho_min > self.rho:
            found.append(f"opt.rho_min={self.rho_min:g}: must be at most opt.rho={self.rho:g}.")
        return found


@dataclass
class LookSAM(SAM):
    """LookSAM: a SAM step in k, whose turn away from the plain gradient the steps between repeat.

    Source: Liu et al., Towards Efficient and Scalable Sharpness-Aware Minimization, CVPR 2022.
    """

    name: str = "looksam"
    rho: float = knob("length of the ascent step in weight space", above=0)
    k: int = knob("one step of k ascends; 1 is SAM", at_least=1, at_most=1_000_000)
    alpha: float = knob("length of what the steps between add, relative to the gradient", at_least=0)


@dataclass
class BGMix(SAM):
    """Binary G-Mix: SAM that learns only from the examples whose loss the ascent raises most.

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
        parts = getattr(run, "accumulate", 1)
        if self.compute == "subset" and parts > 1:
            yield f"opt.compute=subset: needs the batch in one part; allowed with accumulate={parts}: masked."


@dataclass
class DGMix(SAM):
    """Decomposed G-Mix: Binary G-Mix plus the part of the other examples' gradient across it.

    Source: Li, Tang, G-Mix: A Generalized Mixup Learning Framework Towards Flat Minima, section IV. Made for
    augment=mixup.
    """

    name: str = "dgmix"
    gamma: float = knob("share of the batch that counts as sensitive", above=0, at_most=1)
    decompose: str = knob(
        "where the other examples are projected: in parameter space (one more backward pass) or in logits",
        choices=["gradient", "logit"],
    )

    def conflicts(self, run: Any) -> Iterator[str]:
        """What does not go together with the rest of the run."""
        parts = getattr(run, "accumulate", 1)
        if self.decompose == "logit" and parts > 1:
            yield f"opt.decompose=logit: needs the batch in one part; allowed with accumulate={parts}: gradient."


OPTIONS: dict[str, type] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "sam": SAM,
    "asam": ASAM,
    "gsam": GSAM,
    "looksam": LookSAM,
    "bgmix": BGMix,
    "dgmix": DGMix,
}
