"""Small networks on small CIFAR-10 images, trained in seconds, and products of their pixels' gradients.

What Park, Yun, Chun (NeurIPS 2022) show of trained networks (Figure 5), at a scale that many seeds allow.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mixbench.data import load
from mixbench.models.small_cnn import small_cnn

Mix = Callable[..., tuple[Tensor, Tensor]]  # images, labels, generator=
CLASSES = 10


def prepared(images: NDArray[np.uint8], side: int) -> Tensor:
    """(N, 3, side, side) float32 in [0, 1]: the means of square blocks of (N, H, W, 3); `side` divides H."""
    whole = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    return F.avg_pool2d(whole, whole.shape[2] // side)


def saved(folder: Path, dataset: str, side: int, train_size: int, test_size: int) -> Path:
    """Images of a data set, the means of square blocks as bytes, in a file for `dataset=arrays`; `side`
    divides theirs. Which they are is the same for each call. Raises DataError where the data are missing.
    """
    splits, path = load(dataset, train_size=train_size, test_size=test_size), folder / f"{dataset}.npz"
    train, test = (
        prepared(np.asarray(split.inputs), side).permute(0, 2, 3, 1).mul(255).round().byte().numpy()
        for split in (splits.train, splits.test)
    )
    np.savez(
        path,
        train_images=train,
        train_labels=splits.train.labels,
        test_images=test,
        test_labels=splits.test.labels,
    )
    return path


def trained(
    images: Tensor,
    labels: Tensor,
    mix: Mix | None,
    seed: int,
    epochs: int,
    batch_size: int,
    lr: float,
    stem_stride: int = 1,
) -> nn.Module:
    """`small_cnn` after `epochs` of SGD (Nesterov momentum 0.9, weight decay 5e-4, cosine schedule); `mix` gives images
    and soft labels (B, K) of a batch. Weights, orders and mixtures come from `seed`.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = small_cnn(images.shape[1], CLASSES, stem_stride).train()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
    batches = len(images) // batch_size
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        for batch in order[: batches * batch_size].split(batch_size):
            x, y = images[batch], labels[batch]
            x, target = (
                mix(x, y, generator=generator) if mix is not None else (x, F.one_hot(y, CLASSES).float())
            )
            optimizer.zero_grad()
            F.cross_entropy(network(x), target).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """In [0, 1]."""
    return (network(images).argmax(1) == labels).double().mean().item()


@torch.no_grad()
def loss(network: nn.Module, images: Tensor, targets: Tensor) -> float:
    """The mean cross-entropy, against labels (N,) or weights of classes (N, K)."""
    return F.cross_entropy(network(images), targets).item()


def pixel_gradients(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, float]:
    """Gradients (N, H, W) of the logit of the label by the pixels, summed over the channels; and the standard deviation
    of all logits, which the gradients grow with.
    """
    x = images.clone().requires_grad_()
    logits = network(x)
    (gradient,) = torch.autograd.grad(logits.gather(1, labels[:, None]).sum(), x)
    return gradient.sum(1), logits.std().item()


def products(gradient: Tensor, reach: int) -> Tensor:
    """PartialGradProd (equation 12), mean over the images: (2 reach + 1, 2 reach + 1), the largest |g_v g_(v + p)| over
    the pixels v for which v + p is a pixel, at p = (row - reach, column - reach).
    """
    height, width = gradient.shape[1:]
    found = torch.empty(2 * reach + 1, 2 * reach + 1, dtype=torch.float64)
    for down in range(reach + 1):
        for right in range(-reach, reach + 1):
            left, over = max(0, -right), width - max(0, right)
            first = gradient[:, : height - down, left:over]
            second = gradient[:, down:, left + right : over + right]
            value = (first * second).abs().amax((1, 2)).double().mean()
            found[reach + down, reach + right] = found[reach - down, reach - right] = value
    return found
