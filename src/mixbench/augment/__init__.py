"""What the model is fed: methods that mix the images and labels of a batch.

mix = GMix(num_classes=100)
x, y = mix(images, labels)              # (B, C, H, W) floating, (B,) int64 -> same shape, (B, K) float32
x, y = mix(images, labels, lam=0.3, generator=torch.Generator().manual_seed(0))

Mixup, ManifoldMixup and NoMix take inputs of any shape (B, ...), the others images. PuzzleMix and ManifoldMixup
(`uses_model`) are built with the model: PuzzleMix(num_classes=100, model=net).
"""

from __future__ import annotations

from mixbench.augment.cutmix import CutMix
from mixbench.augment.gmix import GMix
from mixbench.augment.hmix import HMix
from mixbench.augment.manifold_mixup import ManifoldMixup
from mixbench.augment.mixup import Mixup
from mixbench.augment.mixup_cutmix import MixupCutMix
from mixbench.augment.none import NoMix
from mixbench.augment.puzzlemix import PuzzleMix
from mixbench.seams import Augment

__all__ = [
    "AUGMENTS",
    "CutMix",
    "GMix",
    "HMix",
    "ManifoldMixup",
    "Mixup",
    "MixupCutMix",
    "NoMix",
    "PuzzleMix",
]

AUGMENTS: dict[str, type[Augment]] = {
    "none": NoMix,
    "mixup": Mixup,
    "cutmix": CutMix,
    "mixup_cutmix": MixupCutMix,
    "hmix": HMix,
    "gmix": GMix,
    "puzzlemix": PuzzleMix,
    "manifold_mixup": ManifoldMixup,
}
