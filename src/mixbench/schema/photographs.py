"""Knobs that data set options share: how pictures become squares of one size, and whether they are read as they are
needed. Parts of options, see `schema.own`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from mixbench.schema.knob import knob


@dataclass
class Streamable:
    """Images that may be too many to be kept on the device."""

    stream: bool | None = knob(
        "read the images anew for every batch; false: keep them on the device; null: the latter if they fit",
        default=None,
        scientific=False,
    )
    workers: int | None = knob(
        "processes that read ahead, of each rank; null: one less than there are processors, 8 at most",
        default=None,
        at_least=0,
        at_most=1000,
        scientific=False,
    )

    def readers(self) -> int:
        """How many processes read ahead."""
        if self.workers is not None:
            return self.workers
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(usable - 1, 8)  # the training needs a processor itself


@dataclass
class Photographs:
    """Pictures of any sizes, which are made squares of one size."""

    size: int | None = knob(
        "pixels: the shorter side is resized to it, antialiased, and the centre cut out as a square; null: pictures are"
        " left as they are, and must be alike",
        default=None,
        at_least=1,
        at_most=4096,
    )
    resize: int | None = knob(
        "pixels that the shorter side is resized to before a square of `size` is cut out of the centre; null: size",
        default=None,
        at_least=1,
        at_most=8192,
    )
    crop_area: list[float] | None = knob(
        "train on random parts of the pictures, resized to `size`: least and largest share of the area (0.08 and 1 are"
        " usual), with sides of 3:4 to 4:3; null: the centre",
        default=None,
        above=0,
        at_most=1,
    )

    def cropped(self) -> tuple[float, float] | None:
        """The limits of the random resized crop; None where there is none."""
        used = self.crop_area and getattr(self, "base_augment", True)
        return (self.crop_area[0], self.crop_area[1]) if used and self.crop_area else None

    def crop_problems(self) -> Iterator[str]:
        """What does not go together in how a picture becomes a square."""
        if self.resize is not None and (self.size is None or self.resize < self.size):
            yield f"dataset.resize={self.resize}: must be at least dataset.size, which is {self.size or 'not given'}."
        if self.crop_area is None:
            return
        given = f"dataset.crop_area={list(self.crop_area)}"
        if len(self.crop_area) != 2 or self.crop_area[0] > self.crop_area[1]:
            yield f"{given}: is the least and the largest share of a picture's area, such as [0.08,1]."
        if self.size is None:
            yield f"{given}: needs dataset.size, the side that the crops are resized to."
        if getattr(self, "crop_padding", 0):
            yield f"{given}: is instead of the crop with padding; allowed beside it: dataset.crop_padding=0."
        if getattr(self, "stream", None) is False:
            yield f"{given}: is cut anew for every batch; allowed beside it: dataset.stream=null or true."
