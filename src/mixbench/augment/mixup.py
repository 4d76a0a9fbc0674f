"""Mixup (Zhang, Cisse, Dauphin, Lopez-Paz, ICLR 2018)."""

from __future__ import annotations

from torch import Tensor

from mixbench.augment.base import MaskMix
from mixbench.augment.draws import Draws


class Mixup(MaskMix):
    """One weight lambda ~ Beta(alpha, alpha) for all pixels and for the label. Arguments: see `MaskMix`."""

    def mask(self, lam: Tensor, height: int, width: int, draws: Draws) -> tuple[Tensor, Tensor]:
        return lam[:, None, None, None], lam
