"""Mixup with lambda from an interval that need not lie in [0, 1] (Park, Yun, Chun, NeurIPS 2022, section 3, Figure 2).

x = lambda x_i + (1 - lambda) x_j is as good for lambda below 0 or above 1 as between. The label is not: the
cross-entropy -w log p_i - (1 - w) log p_j with a weight w below 0 falls without end as p_i goes to 0, though its
gradient by the logits, p - y, stays bounded. The paper does not say what it trains with; see LABELS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from mixbench.augment.base import check_choice
from mixbench.augment.draws import Draws
from mixbench.augment.mixup import Mixup

# The own label's weight for lambda, both (n,); all are lambda itself in [0, 1].
LABELS: dict[str, Callable[[Tensor], Tensor]] = {
    "as is": lambda lam: lam,
    "clipped": lambda lam: lam.clamp(0, 1),
    "absolute": lambda lam: lam.abs() / (lam.abs() + (1 - lam).abs()),
}


class UniformMixup(Mixup):
    """Mixup with lambda uniform on [low, high).

    Args:
        low, high: finite, low <= high.
        label: a rule of LABELS for the label's weight.
        Others: see `MaskMix`.

    Raises:
        ValueError: an argument is not allowed.
    """

    def __init__(
        self, num_classes: int, low: float, high: float, label: str = "as is", **shared: Any
    ) -> None:
        super().__init__(num_classes, **shared)
        check_choice("label", label, list(LABELS))
        if not -float("inf") < low <= high < float("inf"):
            raise ValueError(f"low={low}, high={high}: must be finite, and in this order")
        self.low, self.high, self.label = low, high, LABELS[label]

    def sample(
        self, n: int, height: int, width: int, draws: Draws, lam: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if lam is None:
            lam = self.low + (self.high - self.low) * draws.uniform(n)
        return lam[:, None, None, None], self.label(lam)
