"""What is minimised: objectives that give one loss per example.

losses, logits = objective(model, x, y, images, labels, loss)
"""

from __future__ import annotations

from mixbench.regularize.mixupe import MixupE
from mixbench.regularize.none import NoRegularizer
from mixbench.seams import Objective

__all__ = ["REGULARIZERS", "MixupE", "NoRegularizer"]

REGULARIZERS: dict[str, type[Objective]] = {"none": NoRegularizer, "mixupe": MixupE}
