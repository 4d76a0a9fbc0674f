"""Knobs of the dataset options: which images, and their base augmentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mixbench.schema.knob import MISSING, knob
from mixbench.schema.specs import SPECS, DataSpec


@dataclass
class Dataset:
    """What all data sets share: how much of them is used."""

    name: str = MISSING
    train_size: int | None = knob(
        "train on this many examples, stratified; null for all", default=None, at_least=1
    )
    test_size: int | None = knob(
        "test on this many examples, stratified; null for all", default=None, at_least=1
    )
    val_size: int | None = knob(
        "hold out this many training examples for validation, stratified; null for none",
        default=None,
        at_least=1,
    )

    def spec(self) -> DataSpec:
        """What the set is: sizes, shape and kind of its inputs, classes. Raises ConfigError, DataError."""
        raise NotImplementedError

    def label(self) -> str:
        """A short name for directories and tables."""
        return self.name


@dataclass
class ImageDataset(Dataset):
    """A set of images with its base augmentation, crop and flip, and statistics."""

    base_augment: bool = knob("crop and flip the training images at random; false switches both off")
    crop_padding: int = knob(
        "black pixels added on each side before a random crop to the old size", at_least=0
    )
    flip: bool = knob("mirror a random half of the training images left to right")
    mean: list[float] | None = knob(
        "mean of each channel, bytes counted as [0, 1]; null: that of the training images", default=None
    )
    std: list[float] | None = knob(
        "standard deviation of each channel, bytes counted as [0, 1]; null: that of the training images",
        default=None,
        above=0,
    )

    def problems(self) -> Iterator[str]:
        if (self.mean is None) != (self.std is None):
            yield "dataset.mean, dataset.std: both are given, or both are null and fitted on the training images."
            return
        channels = self.spec().shape[-1]
        for key, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != channels:
                yield f"dataset.{key}={values}: {self.name} has {channels} channels, one number for each."


@dataclass
class Images(ImageDataset):
    """A published set of images.

    Source: the papers that introduced the sets; `mixbench data list` names them.
    """

    name: str = knob("the data set", choices=list(SPECS))
    mirrors: list[str] = knob(
        "addresses of folders that hold the official archives, tried before the official host",
        default=[],
        scientific=False,
    )

    def spec(self) -> DataSpec:
        return SPECS[self.name]

    def problems(self) -> Iterator[str]:
        if self.name in SPECS:
            yield from super().problems()


OPTIONS: dict[str, type] = {"images": Images}
