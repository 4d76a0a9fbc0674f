"""How the losses become an update: rules around any torch optimizer.

rule = SAM(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), rho=0.05)
loss = rule.step(lambda: F.cross_entropy(model(x), y, reduction="none"))
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mixbench.optim.base import Descent
from mixbench.optim.bgmix import BGMix
from mixbench.optim.dgmix import DGMix
from mixbench.optim.gsam import GSAM
from mixbench.optim.looksam import LookSAM
from mixbench.optim.sam import SAM
from mixbench.seams import Rule

__all__ = ["GSAM", "RULES", "SAM", "BGMix", "DGMix", "Descent", "LookSAM"]

RULES: dict[str, Callable[..., Rule]] = {
    "sgd": Descent,
    "adam": Descent,
    "adamw": Descent,
    "sam": SAM,
    "asam": partial(SAM, adaptive=True),
    "gsam": GSAM,
    "looksam": LookSAM,
    "bgmix": BGMix,
    "dgmix": DGMix,
}
