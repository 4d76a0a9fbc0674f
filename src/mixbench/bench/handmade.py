"""The training loop that one writes by hand, to compare with: what most published code of this field does.

torchvision data set, worker processes, transforms on the CPU image by image, v2.MixUp or v2.CutMix on the batch,
float32 or autocast, SAM as two explicit steps, and `loss.item()` for the log. At its best usual settings: as many
persistent workers as cores, pinned memory and cudnn.benchmark on a GPU. `mixbench bench --loop plain` times it beside
mixbench.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import CIFAR100
from torchvision.transforms import v2

from mixbench.machine.devices import autocast


class Images(CIFAR100):
    """torchvision's CIFAR-100, PIL images and all, on arrays uint8 (N, 32, 32, 3) and labels that are given."""

    def __init__(self, images: np.ndarray, labels: Sequence[int], transform: Callable) -> None:
        self.data, self.targets = images, list(labels)
        self.transform, self.target_transform = transform, None


def loader(
    images: np.ndarray,
    labels: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    *,
    batch_size: int,
    crop_padding: int,
    flip: bool,
    device: torch.device,
    workers: int | None = None,
) -> DataLoader:
    """Shuffled batches of images float32 (B, 3, H, W) and labels (B,), cropped and flipped by worker processes."""
    transform = v2.Compose(
        [
            *([v2.RandomCrop(images.shape[1:3], padding=crop_padding)] if crop_padding else []),
            *([v2.RandomHorizontalFlip()] if flip else []),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
        ]
    )
    workers = len(os.sched_getaffinity(0)) if workers is None else workers
    return DataLoader(
        Images(images, labels, transform),
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )


def steps(
    model: nn.Module,
    batches: DataLoader,
    device: torch.device,
    *,
    mix: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    rho: float | None = None,
    lr: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    precision: str = "float32",
    memory_format: torch.memory_format = torch.preserve_format,
) -> Iterator[float]:
    """Train `model` for ever, giving the loss after every step. `rho`: SAM's; None for plain SGD. `precision`: float32
    or bf16; `memory_format`: of the images.
    """
    cast = autocast(device, precision)

    def loss_of(images: Tensor, labels: Tensor) -> Tensor:
        with cast:
            output = model(images)
        return F.cross_entropy(output.float(), labels)

    torch.backends.cudnn.benchmark = True
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)
    model.train()
    while True:
        for images, labels in batches:
            images = images.to(device, non_blocking=True, memory_format=memory_format)
            labels = labels.to(device, non_blocking=True)
            if mix is not None:
                images, labels = mix(images, labels)
            loss = loss_of(images, labels)
            optimizer.zero_grad()
            loss.backward()
            if rho is not None:
                climbed = climb(model, rho)
                optimizer.zero_grad()
                loss_of(images, labels).backward()
                descend(climbed)
            optimizer.step()
            yield loss.item()


@torch.no_grad()
def climb(model: nn.Module, rho: float) -> Sequence[tuple[Tensor, Tensor]]:
    """SAM's first step: add rho g / |g| to the weights. Returns what was added to which."""
    moving = [(p, p.grad) for p in model.parameters() if p.grad is not None]
    norm = torch.stack([gradient.norm() for _, gradient in moving]).norm()
    added = [(p, gradient * (rho / (norm + 1e-12))) for p, gradient in moving]
    for p, delta in added:
        p.add_(delta)
    return added


@torch.no_grad()
def descend(added: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Back to where SAM's first step began."""
    for p, delta in added:
        p.sub_(delta)
