"""Knobs of the dataset options: which images, and their base augmentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mixbench.schema.knob import knob
from mixbench.schema.specs import SPECS


@dataclass
class Images:
    """A set of images with its base augmentation (crop and flip), statistics and subset sizes.

    Source: the papers that introduced the sets; `mixbench data list` names them.
    """

    name: str = knob("the data set", choices=list(SPECS))
    base_augment: bool = knob("crop and flip the training images at random; false switches both off")
    crop_padding: int = knob(
        "black pixels added on each side before a random crop to the old size", at_least=0
    )
    flip: bool = knob("mirror a random half of the training images left to right")
    mean: list[float] = knob("mean of each channel, pixels in [0, 1]", at_least=0, at_most=1)
    std: list[float] = knob("standard deviation of each channel, pixels in [0, 1]", above=0, at_most=1)
    train_size: int | None = knob(
        "train on this many images, stratified; null for all", default=None, at_least=1
    )
    test_size: int | None = knob(
        "test on this many images, stratified; null for all", default=None, at_least=1
    )
    val_size: int | None = knob(
        "hold out this many training images for validation, stratified; null for none",
        default=None,
        at_least=1,
    )
    mirrors: list[str] = knob(
        "addresses of folders that hold the official archives, tried before the official host",
        default=[],
        scientific=False,
    )

    def problems(self) -> Iterator[str]:
        channels = SPECS[self.name].image[2] if self.name in SPECS else len(self.mean)
        for key, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != channels:
                yield f"dataset.{key}={values}: {self.name} has {channels} channels, one number for each."


OPTIONS: dict[str, type] = {"images": Images}
