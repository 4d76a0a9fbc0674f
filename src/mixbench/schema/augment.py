"""Knobs of the augment options: what the model is fed."""

from __future__ import annotations

from dataclasses import dataclass

from mixbench.schema.knob import knob

ALPHA = "shape of Beta(alpha, alpha), from which the ratio lambda is drawn"


@dataclass
class NoMix:
    """No mixing: images as they are, one-hot labels.

    Source: empirical risk minimization, the "Vanilla" rows of the papers.
    """

    name: str = "none"


@dataclass
class MaskMix:
    """Knobs that all mask-based methods share."""

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
class Mixup(MaskMix):
    """Mixup: one weight lambda for all pixels and for the label.

    Source: Zhang, Cisse, Dauphin, Lopez-Paz, mixup: Beyond Empirical Risk Minimization, ICLR 2018.
    """

    name: str = "mixup"
    alpha: float = knob(ALPHA, above=0)


@dataclass
class CutMix(MaskMix):
    """CutMix: a box of the partner is pasted; the label follows the pasted area.

    Source: Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers, ICCV 2019.
    """

    name: str = "cutmix"
    alpha: float = knob(ALPHA, above=0)
    label: str = knob(
        "own label's weight: one minus the true pasted share, or lambda", choices=["area", "nominal"]
    )


@dataclass
class MixupCutMix(MaskMix):
    """Stochastic Mixup & CutMix: one of the two, by chance.

    Source: Park, Yun, Chun, A Unified Analysis of Mixed Sample Data Augmentation, NeurIPS 2022, section 2.
    """

    name: str = "mixup_cutmix"
    alpha_mixup: float = knob("shape of Beta(alpha, alpha) when it is Mixup", above=0)
    alpha_cutmix: float = knob("shape of Beta(alpha, alpha) when it is CutMix", above=0)
    mixup_prob: float = knob("probability of Mixup; otherwise CutMix", at_least=0, at_most=1)


@dataclass
class HMix(MaskMix):
    """HMix: a pasted box of the partner with Mixup around it, between Mixup (r=0) and CutMix (r=1).

    Source: Park, Yun, Chun, A Unified Analysis of Mixed Sample Data Augmentation, NeurIPS 2022, section 4.
    """

    name: str = "hmix"
    alpha: float = knob(ALPHA, above=0)
    r: float = knob("share of the partner that comes from the box", at_least=0, at_most=1)
    variant: str = knob(
        "weight outside the box: of the official code (true box area), or of the paper's text (nominal area)",
        choices=["official", "paper"],
    )
    label: str = knob(
        "own label's weight; for the official variant both are the same", choices=["lambda", "mean_mask"]
    )


@dataclass
class GMix(MaskMix):
    """Gaussian Mixup: one image shows through a Gaussian bump in the other; label = mean of the mask.

    Source: Park, Yun, Chun, A Unified Analysis of Mixed Sample Data Augmentation, NeurIPS 2022, section 4.
    """

    name: str = "gmix"
    alpha: float = knob(ALPHA, above=0)
    variant: str = knob("kernel of the official code, or of the paper's text", choices=["official", "paper"])
    label: str | None = knob(
        "own label's weight; null: the variant's own (official: mean_mask, paper: lambda)",
        choices=["lambda", "mean_mask"],
    )


OPTIONS: dict[str, type] = {
    "none": NoMix,
    "mixup": Mixup,
    "cutmix": CutMix,
    "mixup_cutmix": MixupCutMix,
    "hmix": HMix,
    "gmix": GMix,
}
