"""Accuracy under attacks, as Figure 1 of Zhang et al. (ICLR 2021) has it for FGSM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mixbench.analysis.attacks import L2, Linf, Norm, climb, gradient, losses, one_step
from mixbench.analysis.sample import PixelRange, drawn
from mixbench.data.order import derived_seed
from mixbench.seams import Examples, Network

PIXEL = 1 / 255
NORMS: dict[str, Norm] = {"linf": Linf, "l2": L2}


def robustness(
    network: Network,
    examples: Examples,
    *,
    n: int,
    linf: Sequence[float],
    l2: Sequence[float],
    steps: int,
    step_size: float,
    restarts: int,
) -> dict[str, Any]:
    """Top-1 accuracy in percent under attacks that know the network, by attack, norm and size in units of 1/255.

    `clean`: without one. `fgsm_S`: one step in the maximum norm. `pgd_linf_S`, `pgd_l2_S`: the share of the examples
    for which neither the image, nor the end of one step, nor any iterate of `steps` steps of `step_size` S / steps
    from that end and from `restarts` random places, nor any of those of a smaller size, is taken for another class.
    `loss` holds under the same names the mean of the cross-entropy, for PGD of the largest that each example met, and
    `n` the number of examples. Raises DataError for a run on float images.
    """
    pixel_range = PixelRange(network)
    sizes = {"linf": sorted(linf), "l2": sorted(l2)}
    generator = torch.Generator().manual_seed(derived_seed("random starts of PGD"))
    fooled, loss, count = dict[str, int](), dict[str, float](), 0

    def add(key: str, of_batch: tuple[Tensor, Tensor]) -> None:
        loss[key] = loss.get(key, 0.0) + of_batch[0].double().sum().item()
        fooled[key] = fooled.get(key, 0) + int(of_batch[1].sum())

    for images, labels in drawn(examples, n, network.batch_size):
        count += len(labels)
        pixels = pixel_range.pixels(images)
        low, high = -pixels, 1 - pixels

        def forward(change: Tensor, images: Tensor = images) -> Tensor:
            # The image itself at 0, to the last bit: what is added is a change, not a new image.
            with network.autocast:
                return network.model(images + change / pixel_range.std)

        slope, *clean = gradient(forward, torch.zeros_like(pixels), labels)
        add("clean", (clean[0], clean[1]))
        for size in sizes["linf"]:
            with torch.no_grad():
                change = one_step(slope, Linf, size * PIXEL, low, high)
                add(f"fgsm_{size:g}", losses(forward, change, labels))
        for name, norm in NORMS.items():
            worst, hit = clean
            for size in sizes[name]:
                starts = [one_step(slope, norm, size * PIXEL, low, high)]
                starts += [
                    norm.random(pixels, size * PIXEL, generator).clamp(low, high) for _ in range(restarts)
                ]
                for start in starts:
                    step = step_size * size * PIXEL / steps
                    path = climb(
                        forward, labels, start, norm, size * PIXEL, low, high, steps=steps, step=step
                    )
                    for _, higher, wrong in path:
                        worst, hit = torch.maximum(worst, higher), hit | wrong
                add(f"pgd_{name}_{size:g}", (worst, hit))
    accuracy = {key: 100 * (1 - wrong / count) for key, wrong in fooled.items()}
    return {**accuracy, "loss": {key: total / count for key, total in loss.items()}, "n": count}
