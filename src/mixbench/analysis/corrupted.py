"""Accuracy on corrupted images (Hendrycks, Dietterich, ICLR 2019)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixbench.analysis.corruptions import COLOURED, SEVERITIES
from mixbench.analysis.degrade import corrupted
from mixbench.analysis.sample import PixelRange, drawn
from mixbench.data.order import derived_seed
from mixbench.engine.evaluators import evaluate
from mixbench.errors import DataError
from mixbench.seams import Examples, Network


def corruptions(network: Network, examples: Examples, *, n: int, kinds: Sequence[str]) -> dict[str, Any]:
    """Top-1 accuracy in percent under each corruption of `kinds`, by its name the mean over the five severities, and
    `mean` over all of them; `severities` has each, and `n` the number of examples.

    What is drawn depends on the corruption, the severity and `n` alone: every run is tested on the same images.
    Grey images are not saturated. Raises DataError for a run on float images, or of channels that are no colours, and
    where there is nothing to be done.
    """
    pixel_range = PixelRange(network)
    channels = len(network.mean)
    if channels not in (1, 3):
        raise DataError(f"corruptions take images of 1 or 3 channels; this run's have {channels}.")
    kinds = [name for name in kinds if channels == 3 or name not in COLOURED]
    if not kinds:
        raise DataError(f"corruptions: none of those asked for changes images of {channels} channels.")
    batches = drawn(examples, n, network.batch_size)
    pixels = [
        (pixel_range.pixels(images) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        for images, _ in batches
    ]

    def accuracy(name: str, severity: int) -> float:
        generator = np.random.default_rng(derived_seed("corrupted images", name, severity))

        def changed() -> Iterator[tuple[Tensor, Tensor]]:
            for (images, labels), raw in zip(batches, pixels, strict=True):
                new = torch.from_numpy(corrupted(raw, name, severity, generator)).to(network.device)
                yield pixel_range.normalised(new.permute(0, 3, 1, 2) / 255).to(images.dtype), labels

        return evaluate(network.model, changed(), network.autocast)["acc"]

    severities = {name: [accuracy(name, s + 1) for s in range(len(SEVERITIES[name]))] for name in kinds}
    means = {name: float(np.mean(found)) for name, found in severities.items()}
    return {
        "mean": float(np.mean([*means.values()])),
        **means,
        "severities": severities,
        "n": sum(map(len, pixels)),
    }
