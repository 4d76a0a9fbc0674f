"""Accuracy and loss, as the rows of a run have them."""

from __future__ import annotations

from typing import Any

from mixbench.engine.evaluators import scores
from mixbench.seams import Examples, Network


def accuracy(network: Network, examples: Examples) -> dict[str, Any]:
    """Top-1 (`acc`) and top-5 (`top5`) in percent, mean cross-entropy in nats (`loss`), and the number of examples.

    On a run's own test set these are the numbers of its last row: on a CPU to the last bit, on a GPU as far as its
    kernels round alike.
    """
    return {**scores(network.logits(examples)), "n": len(examples)}
