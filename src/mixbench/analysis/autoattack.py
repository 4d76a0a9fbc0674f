"""AutoAttack (Croce, Hein, ICML 2020), the standard version, with the attacks of the package torchattacks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mixbench.analysis.robustness import NORMS, PIXEL
from mixbench.analysis.sample import PixelRange, drawn
from mixbench.data.order import derived_seed
from mixbench.errors import DataError
from mixbench.seams import Examples, Network

NAMES = {"linf": "Linf", "l2": "L2"}  # of the norms, in the package
SMALLEST = 5  # side of an image: the square attack begins with fifths of it
FEWEST = (
    4  # classes: the targeted loss divides by the largest logit less the mean of the third and the fourth
)


class OfPixels(nn.Module):
    """The network as the package takes it: pixels (B, C, H, W) in [0, 1] -> logits (B, K) float32."""

    def __init__(self, network: Network, pixel_range: PixelRange) -> None:
        super().__init__()
        self.model = network.model
        self._autocast, self._range = network.autocast, pixel_range

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, K)."""
        with self._autocast:
            return self.model(self._range.normalised(pixels)).float()


def attacks(
    model: nn.Module, norm: str, size: float, classes: int, *, steps: int, queries: int
) -> Iterator[tuple[str, Callable[[Tensor, Tensor], Tensor]]]:
    """The four attacks by name, in the order of the paper: pixels and labels -> attacked pixels.

    The paper's settings are `steps` = 100 and `queries` = 5000; the package's own AutoAttack takes 10 steps. At most
    nine classes are aimed at, one after the other.
    """
    import torchattacks

    given: dict[str, Any] = {
        "norm": NAMES[norm],
        "eps": size,
        "seed": derived_seed("AutoAttack", norm, f"{size:g}") % 2**31,
    }
    aimed = {**given, "steps": steps, "n_classes": min(classes, 10)}
    yield "apgd_ce", torchattacks.APGD(model, steps=steps, loss="ce", **given)
    yield "apgd_t", torchattacks.APGDT(model, **aimed)
    yield "fab_t", torchattacks.FAB(model, multi_targeted=True, **aimed)
    yield "square", torchattacks.Square(model, n_queries=queries, **given)


def autoattack(
    network: Network,
    examples: Examples,
    *,
    n: int,
    linf: Sequence[float],
    l2: Sequence[float],
    steps: int,
    queries: int,
) -> dict[str, Any]:
    """Top-1 accuracy in percent under AutoAttack: `clean`, and by norm and size in units of 1/255, such as `linf_8`.

    `after` holds for each the accuracy after the first attack, after the second, and so on: each attacks what those
    before it have left, that of a smaller size included. What an attack returns is put into the ball and the pixel
    range, and counts where this network takes it for another class, whatever the package thinks. `n` is the number of
    examples. Raises DataError for a run on float images, on fewer than four classes, or on images below 5x5.
    """
    pixel_range = PixelRange(network)
    classes = len(network.class_names)
    if classes < FEWEST:
        raise DataError(f"autoattack takes networks for at least {FEWEST} classes; this one's are {classes}.")
    model = OfPixels(network, pixel_range).eval()
    count, right = 0, dict[str, int]()
    after = dict[str, dict[str, int]]()

    def add(counts: dict[str, int], key: str, left: Tensor) -> None:
        counts[key] = counts.get(key, 0) + len(left)

    with _frozen(model), torch.random.fork_rng():  # the package sets the seeds of all generators
        for images, labels in drawn(examples, n, network.batch_size):
            count += len(labels)
            pixels = pixel_range.pixels(images).contiguous()  # the package views them as vectors
            if min(pixels.shape[2:]) < SMALLEST:
                raise DataError(f"autoattack takes images of at least {SMALLEST}x{SMALLEST} pixels.")
            with torch.no_grad():
                sound = (model(pixels).argmax(1) == labels).nonzero().flatten()
            add(right, "clean", sound)
            for norm, sizes in (("linf", linf), ("l2", l2)):
                left = sound
                for size in sorted(sizes):
                    key = f"{norm}_{size:g}"
                    of_each = after.setdefault(key, {})
                    for name, attack in attacks(
                        model, norm, size * PIXEL, classes, steps=steps, queries=queries
                    ):
                        if len(left):
                            left = left[
                                _withstood(model, attack, norm, size * PIXEL, pixels[left], labels[left])
                            ]
                        add(of_each, name, left)
                    add(right, key, left)
    return {
        **{key: 100 * found / count for key, found in right.items()},
        "after": {
            key: {name: 100 * m / count for name, m in of_each.items()} for key, of_each in after.items()
        },
        "n": count,
    }


def _withstood(
    model: nn.Module,
    attack: Callable[[Tensor, Tensor], Tensor],
    norm: str,
    size: float,
    pixels: Tensor,
    labels: Tensor,
) -> Tensor:
    """Which of the images (B, C, H, W) are still taken for what they are, bool (B,)."""
    change = NORMS[norm].project(attack(pixels, labels) - pixels, size).clamp(-pixels, 1 - pixels)
    with torch.no_grad():
        return model(pixels + change).argmax(1) == labels


@contextlib.contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """No gradients of the weights, which the attacks would gather."""
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in wanted:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)
