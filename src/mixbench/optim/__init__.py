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
from mixbench.optim.sam import SAM

__all__ = ["RULES", "SAM", "BGMix", "DGMix", "Descent"]

RULES: dict[str, Callable[..., Descent]] = {
    "sgd": Descent,
    "adam": Descent,
    "adamw": Descent,
    "sam": SAM,
    "asam": partial(SAM, adaptive=True),
    "bgmix": BGMix,
    "dgmix": DGMix,
}
