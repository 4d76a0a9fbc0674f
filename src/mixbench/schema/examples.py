"""What the options of all data sets share, whatever the kind of their inputs, and those of all sets of images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from mixbench.schema.knob import MISSING, knob
from mixbench.schema.specs import DataSpec

DataDir = str | os.PathLike[str] | None


@dataclass
class Dataset:
    """What all data sets share, whatever the kind of their inputs.

    `holds_out` is how to hold out examples for validation, in words.
    """

    holds_out: ClassVar[str] = "add dataset.val_size=N, the number of training examples to hold out"

    name: str = MISSING

    def spec(self) -> DataSpec:
        """What the set is: sizes, shape and kind of its inputs, classes. Raises ConfigError, DataError."""
        raise NotImplementedError

    def held_out(self) -> int:
        """How many of the training examples are held out for validation. Raises as `spec` does."""
        return 0

    def label(self) -> str:
        """A short name for directories and tables."""
        return self.name

    def resolved(self, data_dir: DataDir) -> Dataset:
        """The option with all that only the data themselves can tell; itself where there is nothing to fill in."""
        return self

    def present(self) -> bool:
        """Whether `spec` can tell. False only for a saved run's data that are not on this machine any more."""
        return True


@dataclass
class Sized(Dataset):
    """A set with a training and a test part of its own, and how much of them is used."""

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

    def held_out(self) -> int:
        return self.val_size or 0


@dataclass
class ImageDataset(Sized):
    """A set of images with its base augmentation, crop and flip, and statistics."""

    base_augment: bool = knob("crop and flip the training images at random; false switches both off")
    crop_padding: int = knob(
        "black pixels added on each side before a random crop to the old size", at_least=0, at_most=1000
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
