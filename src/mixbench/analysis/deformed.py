"""Accuracy on rotated, sheared and zoomed images, as Table 8 of Zou et al. (MixupE, UAI 2023) has it."""

from __future__ import annotations

from typing import Any

from mixbench.analysis.deformations import DEFORMATIONS
from mixbench.analysis.warp import deformed
from mixbench.engine.evaluators import evaluate
from mixbench.seams import Examples, Network


def deformations(network: Network, examples: Examples) -> dict[str, Any]:
    """Top-1 accuracy in percent on the images under each deformation, by its name."""

    def accuracy(name: str) -> float:
        batches = deformed(examples.eval_batches(network.batch_size), name, len(examples))
        return evaluate(network.model, batches, network.autocast)["acc"]

    return {name: accuracy(name) for name in DEFORMATIONS}
