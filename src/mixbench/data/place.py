"""Whether the images of a set are kept on the device, or read for every batch."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import torch

from mixbench.data.pictures import Pictures
from mixbench.data.splits import Split, Splits
from mixbench.data.store import decoded
from mixbench.machine.memory import free_memory
from mixbench.schema.photographs import Photographs, Streamable


def placed(splits: Splits, options: Streamable, device: torch.device, root: Path) -> Splits:
    """The set as it is trained on: with `streamed` set, or with arrays for all parts.

    It is streamed if the user says so, or else if what ImageSet would keep takes more than half of the free memory.
    Pictures that stay are decoded once, below `root` (data_dir); those that are streamed are read through once, so that
    one that is damaged is found now, and their sums are there. Raises DataError for such a picture.
    """
    parts = [splits.train, splits.test, *([splits.val] if splits.val is not None else [])]
    needed = sum(_bytes(part, getattr(options, "crop_padding", 0)) for part in parts)
    free, whose = free_memory(device)
    why = ""
    if options.stream:
        why = "dataset.stream=true"
    elif isinstance(options, Photographs) and options.cropped():
        why = "dataset.crop_area: they are cropped as they are decoded"
    elif options.stream is None and needed > free / 2:
        why = f"{_gib(needed)} are more than half of {whose}, {_gib(free)}"
    readers = options.readers()

    def part(split: Split) -> Split:
        inputs = split.inputs
        if not isinstance(inputs, Pictures):
            return split
        if why:
            return Split(dataclasses.replace(inputs, sums=decoded.sums(inputs, root, readers)), split.labels)
        return Split(decoded.pixels(inputs, root, readers), split.labels)

    val = part(splits.val) if splits.val is not None else None
    return dataclasses.replace(
        splits, train=part(splits.train), val=val, test=part(splits.test), streamed=why
    )


def _bytes(split: Split, padding: int) -> int:
    n, height, width, channels = split.inputs.shape
    return math.prod((n, height + 2 * padding, width + 2 * padding, channels)) * split.inputs.dtype.itemsize


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**29 else f"{size / 2**20:.1f} MiB"
