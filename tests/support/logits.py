"""A network that is no more than its outputs."""

from __future__ import annotations

import torch


class Logits:
    """A network whose logits are given, in batches of one to four."""

    def __init__(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        self.class_names = [f"c{i}" for i in range(logits.shape[1])]
        sizes = [1 + i % 4 for i in range(len(labels))]
        sizes = sizes[: next(i for i in range(len(sizes) + 1) if sum(sizes[:i]) >= len(labels))]
        sizes[-1] -= sum(sizes) - len(labels)
        self.batches = list(zip(logits.split(sizes), labels.split(sizes), strict=True))

    def logits(self, _: object) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return self.batches
