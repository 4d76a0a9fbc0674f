"""Knobs of the augment options: what the model is fed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

from mixbench.schema.knob import knob
from mixbench.schema.model import label

NUMBERS = ("image", "row")


@dataclass
class NoMix:
    """No mixing: examples as they are, one-hot labels.

    Source: empirical risk minimization, the "Vanilla" rows of the papers.
    """

    # Of the inputs that it takes, as a data set names its own; None: all that are numbers, which may be added. The same
    # in all schemas here.
    kinds: ClassVar[tuple[str, ...] | None] = (*NUMBERS, "graph")
    name: str = "none"


@dataclass
class Mixing:
    """Knobs that all mixing methods share."""

    kinds: ClassVar[tuple[str, ...] | None] = ("image",)
    name: str = ""
    pairing: str = knob(
        "partners: a random permutation, the batch in reverse order, or random without self-pairs",
        choices=["randperm", "flip", "derange"],
    )
    per_sample: bool = knob("a ratio and a mask for every example instead of one of each per batch")
    prob: float = knob(
        "share of batches (with per_sample, of examples) that are mixed", at_least=0, at_most=1
    )


@dataclass
class BetaMix(Mixing):
    """Knobs of the methods that draw one ratio from a Beta distribution."""

    alpha: float = knob("shape of Beta(alpha, beta), from which the ratio lambda is drawn", above=0)
    beta: float | None = knob("beta of Beta(alpha, beta); null: the same as alpha", default=None, above=0)


@dataclass
class Mixup(BetaMix):
    """Mixup: one weight lambda for the whole example, of any shape, and for the label.

    Source: Zhang, Cisse, Dauphin, Lopez-Paz, mixup: Beyond Empirical Risk Minimization, ICLR 2018.
    """

    kinds: ClassVar[tuple[str, ...] | None] = (*NUMBERS, "graph")
    name: str = "mixup"


@dataclass
class CutMix(BetaMix):
    """CutMix: a box of the partner is pasted; the label follows the pasted area.

    Source: Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers, ICCV 2019.
    """

    name: str = "cutmix"
    label: str = knob(
        "own label's weight: one minus the true pasted share, or lambda", choices=["area", "nominal"]
    )


@dataclass
class MixupCutMix(Mixing):
    """Stochastic Mixup & CutMix: one of the two, by chance.

    Source: Park, Yun, Chun, A Unified Analysis of Mixed Sample Data Augmentation, NeurIPS 2022, section 2.
    """

    name: str = "mixup_cutmix"
    alpha_mixup: float = knob("shape of Beta(alpha, alpha) when it is Mixup", above=0)
    alpha_cutmix: float = knob("shape of Beta(alpha, alpha) when it is CutMix", above=0)
    mixup_prob: float = knob("probability of Mixup; otherwise CutMix", at_least=0, at_most=1)


@dataclass
class HMix(BetaMix):
    """HMix: a pasted box of the partner with Mixup around it, between Mixup (r=0) and CutMix (r=1).

    Source: Park, Yun, Chun, A Unified Analysis of Mixed Sample Data Augmentation, NeurIPS 2022, section 4.
    """

    name: str = "hmix"
    r: float = knob("share of the partner that comes from the box", at_least=0, at_most=1)
    gamma: float | None = knob(
        "r is drawn from Beta(gamma, gamma) for every mask; null: it is the fixed r", default=None, above=0
    )
    variant: str = knob(
        "weight outside the box: of the official code (true box area), or of the paper's text (nominal area)",
        choices=["official", "paper"],
    )
    label: str = knob(
        "own label's weight; for the official variant both are the same", choices=["lambda", "mean_mask"]
    )


@dataclass
class GMix(BetaMix):
    """Gaussian Mixup: one image shows through a Gaussian bump in the other; label = mean of the mask.

    Source: Park, Yun, Chun, A Unified Analysis of Mixed Sample Data Augmentation, NeurIPS 2022, section 4.
    """

    name: str = "gmix"
    variant: str = knob("kernel of the official code, or of the paper's text", choices=["official", "paper"])
    label: str | None = knob(
        "own label's weight; null: the variant's own (official: mean_mask, paper: lambda)",
        choices=["lambda", "mean_mask"],
    )


@dataclass
class PuzzleMix(Mixing):
    """PuzzleMix: masks by saliency and graph cut, blocks moved to where they show; label = mean of the mask.

    Source: Kim, Choo, Song, Puzzle Mix: Exploiting Saliency and Local Statistics for Optimal Mixup, ICML 2020.
    """

    name: str = "puzzlemix"
    alpha: float = knob("shape of Beta(alpha, alpha), from which the ratio lambda is drawn", above=0)
    beta: float = knob("weight of smooth masks; no shape of the Beta distribution", at_least=0)
    gamma: float = knob("weight of jumps of colour at a mask's border", at_least=0)
    eta: float = knob("weight of the prior that draws the mask's mean to lambda", at_least=0)
    neigh_size: int = knob("pixels over which colours are averaged at a border", at_least=1, at_most=1000)
    n_labels: int = knob("levels of the mask", at_least=2, at_most=4)
    transport: bool = knob("move the images' blocks to where the mask shows them")
    t_size: int = knob("side of a moved block in pixels", at_least=1, at_most=1000)
    t_eps: float = knob("price of moving a block, per squared side of the image", above=0)
    solver: str = knob(
        "mask by belief propagation on the device, or by the graph cut of the package gco-wrapper",
        choices=["torch", "gco"],
    )

    def problems(self) -> Iterator[str]:
        if self.solver == "gco" and find_spec("gco") is None:
            yield "augment.solver=gco: needs the package gco-wrapper: pip install 'mixbench[gco]'."


@dataclass
class ManifoldMixup(Mixup):
    """Manifold Mixup: Mixup of the input or of hidden states, after a random one of the first stages.

    Source: Verma et al., Manifold Mixup: Better Representations by Interpolating Hidden States, ICML 2019.
    """

    kinds: ClassVar[tuple[str, ...] | None] = NUMBERS
    name: str = "manifold_mixup"
    stages: int = knob("deepest stage whose output may be mixed; 0: only the input", at_least=0, at_most=1000)

    def conflicts(self, run: Any) -> Iterator[str]:
        most = getattr(run.model, "num_stages", None)
        if most is not None and self.stages > most:
            yield f"augment.stages={self.stages}: model={label(run.model)} has {most} stages; allowed: 0 to {most}."
        reason = "manifold_mixup needs every batch whole and alone in a forward"
        if getattr(run.regularizer, "forward", "") == "batched":
            yield f"regularizer.forward=batched: {reason}; allowed here: separate."
        if getattr(run.opt, "compute", "") == "subset":
            yield f"opt.compute=subset: {reason}; allowed here: masked."
        if getattr(run.regularizer, "variant", "") == "exact" and run.regularizer.samples == "mixed":
            yield "regularizer.samples=mixed: manifold_mixup has no mixed images to differentiate; allowed: original."
        if run.accumulate > 1:
            yield f"accumulate={run.accumulate}: {reason}; allowed here: 1."
        if run.compile:
            yield "compile=true: a compiled network may leave out the hooks of manifold_mixup; allowed here: false."


OPTIONS: dict[str, type] = {
    "none": NoMix,
    "mixup": Mixup,
    "cutmix": CutMix,
    "mixup_cutmix": MixupCutMix,
    "hmix": HMix,
    "gmix": GMix,
    "puzzlemix": PuzzleMix,
    "manifold_mixup": ManifoldMixup,
}
