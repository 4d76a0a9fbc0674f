"""Accuracy and loss, as the rows of a run have them."""

from __future__ import annotations

from typing import Any

from mixbench.engine.evaluators import scores
from mixbench.seams import Examples, Network


def accuracy(network: Network, examples: Examples) -> dict[str, Any]:
    """Top-1 (`acc`) and top-5 (`top5`) in percent, mean cross-entropy in nats (`loss`), and the number of examples.

    On a run's own test set and kind of device these are the numbers of its last row, to the last bit.
    """
    return {**scores(network.logits(examples)), "n": len(examples)}
