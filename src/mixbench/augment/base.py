"""What all methods that mix through a mask share: pairing, blending and soft labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from mixbench.augment.draws import PAIRINGS, Draws
from mixbench.losses import one_hot


class MaskMix:
    """Mix each image with a partner from the same batch through a mask (Park et al. 2022, equation 1).

        x = M * image + (1 - M) * partner,    y = w * label + (1 - w) * partner's label

    A method is a subclass with one function, `sample`, that draws M and w. One that changes the partner before it
    shows has a `mixed` of its own as well. For methods in which a ratio lambda leads to M and w, see `ratio`.

    Args:
        num_classes: K, at least 2.
        pairing: "randperm" (one random permutation per batch), "flip" (reverse order) or "derange" (random,
            but no image meets itself).
        per_sample: a mask for every example; otherwise one per batch.
        prob: probability that a batch (with `per_sample`, an example) is mixed at all, in [0, 1].

    Raises:
        ValueError: an argument is outside its range; also from a call, for tensors of another form.
    """

    uses_model: ClassVar[bool] = False
    uses_blend: ClassVar[bool] = False

    def __init__(
        self, num_classes: int, *, pairing: str = "randperm", per_sample: bool = False, prob: float = 1.0
    ) -> None:
        check_classes(num_classes)
        check_choice("pairing", pairing, PAIRINGS)
        check_share("prob", prob)
        self.num_classes = num_classes
        self.pairing = pairing
        self.per_sample = per_sample
        self.prob = prob

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        lam: float | Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The mixed images and their soft labels; the inputs are left as they are.

        Args:
            images: (B, C, H, W), floating, of any height and width; (B, ...) for Mixup and Manifold Mixup.
            labels: (B,) int64 in {0, ..., K-1}.
            lam: the ratio instead of a drawn one: a float in [0, 1], or a tensor (0-dim, or (B,) for a ratio
                and a mask per example) with values in [0, 1], which are not checked: that would wait for
                the device. A method without a ratio takes only None.
            generator: source of all randomness, on the CPU or on the images' device.

        Returns:
            x of the shape, dtype and memory format of `images`, and y (B, K) float32 with rows that sum to 1.
        """
        height, width = self.size(images)
        check_batch(images, labels)
        draws = Draws(generator, images.device)
        partners = draws.partners(self.pairing, len(images))
        mask, own, *extra = self.batch_masks(len(images), height, width, draws, lam)
        unmixed = self.unmixed(len(own), draws)
        if unmixed is not None:
            mask = mask.masked_fill(unmixed[:, None, None, None], 1.0)
            own = own.masked_fill(unmixed, 1.0)
        return self.mixed(images, mask, partners, *extra), self.soft_labels(labels, own, partners)

    def size(self, images: Tensor) -> tuple[int, int]:
        """Height and width of the masks for these images. Raises ValueError for inputs that are no images."""
        if images.dim() != 4:
            raise ValueError(
                f"images: shape {tuple(images.shape)}; allowed: (B, C, H, W), as {type(self).__name__} mixes images"
            )
        return images.shape[2], images.shape[3]

    def batch_masks(
        self, batch: int, height: int, width: int, draws: Draws, lam: float | Tensor | None
    ) -> tuple[Tensor, ...]:
        """What `sample` gives for a batch: one mask, or one per example."""
        if lam is not None:
            raise ValueError(f"lam={lam}: {type(self).__name__} has no ratio; allowed: None")
        return self.sample(batch if self.per_sample else 1, height, width, draws)

    def sample(self, n: int, height: int, width: int, draws: Draws) -> tuple[Tensor, ...]:
        """n masks and label weights.

        Returns the weight of the own image at every pixel, broadcastable to (n, 1, height, width), and the weight
        of the own label (n,), both in [0, 1] and of one floating dtype. Tensors after these two are handed on to
        `mixed`: what was drawn besides, such as where a box lies.
        """
        raise NotImplementedError

    def unmixed(self, n: int, draws: Draws) -> Tensor | None:
        """(n,) bool: which of n mixes are left out by `prob`; None when none can be."""
        return draws.uniform(n) >= self.prob if self.prob < 1 else None

    def mixed(self, images: Tensor, mask: Tensor, partners: Tensor, *extra: Tensor) -> Tensor:
        """What the model is fed: like `images` in shape, type and memory format, and equal to them where the mask is 1.

        `mask` is that of `sample`, with ones where `prob` leaves a mix out; `partners` are indices (B,); `extra` is
        what `sample` gave besides.
        """
        return blend(images, mask, partners)

    def soft_labels(self, labels: Tensor, own: Tensor, partners: Tensor) -> Tensor:
        """(B, K) float32 targets: weight `own` (B,) or (1,) on the own label, the rest on the partner's."""
        target = one_hot(labels, self.num_classes)
        return torch.lerp(target[partners], target, own.to(target.dtype)[:, None])


Blend = Callable[[Tensor, Tensor, Tensor], Tensor]


def blend(images: Tensor, mask: Tensor, partners: Tensor) -> Tensor:
    """`mask * images + (1 - mask) * images[partners]` in the images' dtype; exact where the mask is 0 or 1.

    `mask` broadcasts to the shape of `images`. One pass over the images: on two CPU cores 75 us for 128x3x32x32, where
    the formula as written takes 0.9 to 3 ms.
    """
    return torch.lerp(images[partners], images, mask.to(images.dtype))


def check_batch(images: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless images are (B, ...) floating and labels (B,) int64."""
    if images.dim() == 0 or not images.is_floating_point():
        raise ValueError(
            f"images: {images.dtype} of shape {tuple(images.shape)}; allowed: floating, shape (B, ...)"
        )
    if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(
            f"labels: {labels.dtype} of shape {tuple(labels.shape)}; allowed: int64, shape ({len(images)},)"
        )


def check_classes(num_classes: int) -> None:
    """Raise ValueError unless there are at least two classes."""
    if num_classes < 2:
        raise ValueError(f"num_classes={num_classes}: must be >= 2")


def check_positive(name: str, value: float) -> None:
    """Raise ValueError unless `value` is a finite number above 0."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name}={value}: must be a finite number > 0")


def check_share(name: str, value: float) -> None:
    """Raise ValueError unless `value` lies in [0, 1]; NaN does not."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value}: must be >= 0 and <= 1")


def check_choice(name: str, value: str | None, allowed: Sequence[str]) -> None:
    """Raise ValueError unless `value` is one of the allowed words."""
    if value not in allowed:
        raise ValueError(f"{name}={value}: not one of {', '.join(allowed)}")
