"""Images (H, W, C), uint8 or float32: normalised for each channel, cropped and flipped in training (see `Kind`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mixbench.augment import base as augment
from mixbench.data.images import ImageSet, Pixels
from mixbench.data.speech import Clips
from mixbench.data.splits import Split, Splits
from mixbench.data.statistics import channel_statistics
from mixbench.data.stream import StreamedImages
from mixbench.errors import DataError
from mixbench.machine.ranks import Ranks
from mixbench.seams import Examples

NOUN = "images"
blend = augment.blend


def normalisation(options: Any, train: Split) -> tuple[list[float], list[float]]:
    """Of each channel."""
    if options.mean is not None:
        return options.mean, options.std
    return channel_statistics(train.inputs)


def placed(splits: Splits, options: Any, device: torch.device, root: Path) -> Splits:
    """Clips as spectrograms; pictures decoded, or left where they are read for every batch."""
    if isinstance(splits.train.inputs, Clips):
        from mixbench.data.spectrograms import transformed

        return transformed(splits, device)
    if not hasattr(options, "stream"):
        return splits
    from mixbench.data.place import placed as kept_or_streamed

    return kept_or_streamed(splits, options, device, root)


def in_training(options: Any, splits: Splits) -> dict[str, Any]:
    """Crop and flip; whether images are read for every batch, and by how many processes."""
    return {
        "streamed": bool(splits.streamed),
        "readers": options.readers() if splits.streamed else 0,
        "crop_padding": options.crop_padding if options.base_augment else 0,
        "flip": options.flip and options.base_augment,
    }


def examples(
    split: Split, *, streamed: bool = False, readers: int = 0, ranks: Ranks | None = None, **how: Any
) -> Examples:
    """Kept on the device, or `streamed` by so many processes of each rank. `how` are what `images.Pixels` takes."""
    if streamed:
        return StreamedImages(split.inputs, split.labels, **how, readers=readers, ranks=ranks)
    return ImageSet(np.asarray(split.inputs), split.labels, **how)


def fitting(inputs: Any, shape: tuple[int, ...], stored: str, wanted: str) -> NDArray:
    """Images (N, H, W, C) as the data set stores them, or one (H, W, C); C may be left out where it is 1."""
    images = _array(inputs)
    if shape[-1] == 1 and images.ndim < 4 and images.shape[-2:] == shape[:2] and images.shape != shape:
        images = images[..., None]
    images = images[None] if images.shape == shape else images
    wanted = f"{wanted} images (N, {', '.join(map(str, shape))})"
    if images.shape[1:] != shape:
        raise DataError(f"{wanted}, not {images.shape}.")
    if images.dtype == np.uint8 and stored == "uint8":
        return images
    if not np.issubdtype(images.dtype, np.floating):
        also = "uint8, or float in [0, 1]" if stored == "uint8" else "float, in their own units"
        raise DataError(f"{wanted}, {also}; these are {images.dtype}.")
    images = images.astype(np.float32)
    if stored == "uint8" and len(images) and not (-0.001 < images.min() <= images.max() < 1.001):
        raise DataError(
            f"{wanted}, uint8, or float in [0, 1]; these are from {images.min():g} to {images.max():g}."
        )
    return images


def words(options: Any, splits: Splits, train: Examples) -> tuple[str, str, Iterator[str]]:
    """ "images 8x8x1", "crop with padding 1 and flip", and where mean and images come from."""
    area = getattr(options, "crop_area", None)
    changes = [f"random crops of {area[0]:.0%} to {area[1]:.0%} of a picture"] if area else []
    changes += [f"crop with padding {options.crop_padding}"] if options.crop_padding else []
    changes += ["flip"] if options.flip else []
    how = " and ".join(changes) if options.base_augment and changes else "no base augmentation"
    return f"images {'x'.join(map(str, splits.spec.shape))}", how, _kept(options, splits, train)


def _kept(options: Any, splits: Splits, train: Examples) -> Iterator[str]:
    if options.mean is None and isinstance(train, Pixels):
        mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (train.mean, train.std))
        yield f"mean {mean}, standard deviation {std} (of the training images)"
    if isinstance(train, StreamedImages):
        readers = {0: "this process", 1: "another process"}.get(train.readers, f"{train.readers} processes")
        yield f"read for every batch by {readers}: {splits.streamed}"


def _array(inputs: Any) -> NDArray:
    try:
        return np.asarray(inputs)
    except ValueError as error:
        raise DataError(f"no array of numbers: {error}") from None
