"""Knobs of the dataset options: which images, and their base augmentation."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from mixbench.errors import ConfigError
from mixbench.files import expanded
from mixbench.schema.knob import MISSING, knob
from mixbench.schema.specs import SPECS, DataSpec
from mixbench.schema.tables import TABLES, TableSpec

if TYPE_CHECKING:
    from mixbench.inventory.arrays import ArrayFile
    from mixbench.inventory.folder import PictureFolder

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
        if any(re.search(r"//[^/@\s]*:[^/@\s]*@", str(address)) for address in self.mirrors):
            yield (
                "dataset.mirrors: an address with a password would stand in the run's record; give it in the"
                " environment variable MIXBENCH_MIRRORS."
            )


@dataclass
class OwnImages(ImageDataset):
    """Images of your own, which are what they hold, wherever they lie."""

    path: str = knob("where they lie", default="", scientific=False)
    content: str | None = knob(
        "SHA-256 of what lies there, filled in by mixbench; where it is given, it must be met", default=None
    )
    test_share: float | None = knob(
        "share of the images that is held out for testing, stratified and the same for every seed; for a set without"
        " a test part",
        default=None,
        above=0,
        below=1,
    )
    stream: bool | None = knob(
        "read the images anew for every batch; false: keep them on the device; null: the latter if they fit",
        default=None,
        scientific=False,
    )
    workers: int | None = knob(
        "processes that read ahead; null: one less than there are processors, 8 at most",
        default=None,
        at_least=0,
        at_most=1000,
        scientific=False,
    )

    def found(self, data_dir: DataDir = None) -> PictureFolder | ArrayFile:
        """What lies there. Raises ConfigError, DataError."""
        raise NotImplementedError

    def resolved(self, data_dir: DataDir) -> OwnImages:
        if not self.present():
            return self
        found = self.found(data_dir)
        return dataclasses.replace(self, path=str(found.path), content=self.content or found.content)

    def present(self) -> bool:
        return not self.content or expanded(self.path).exists()

    def problems(self) -> Iterator[str]:
        if not self.present():
            return
        found = self.found()
        if self.content not in (None, found.content):
            yield (
                f"dataset.content={self.content}: is another set than the one in {found.path}, whose content is"
                f" {found.content}, and training on that is another run; leave dataset.content out to do so."
            )
            return
        try:
            yield from super().problems()
        except ConfigError as error:  # of parts or shapes: one line among others
            yield str(error)

    def label(self) -> str:
        name = re.sub(
            r"[^\w.-]+", "_", Path(self.path).stem if self.path.endswith(".npz") else Path(self.path).name
        )
        name = name.strip("._")
        return f"{name}-{self.name}" if name in SPECS else name or self.name

    def readers(self) -> int:
        """How many processes read ahead."""
        if self.workers is not None:
            return self.workers
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(usable - 1, 8)  # the training needs a processor itself

    def sizes(self, train: int, test: int) -> tuple[int, int]:
        """The sizes of the two parts, once a test part has been held out where there is none. Raises ConfigError."""
        if test and self.test_share is not None:
            raise ConfigError(
                f"dataset.test_share={self.test_share}: {self.path} has a test part; leave this out to test on it."
            )
        if test:
            return train, test
        if self.test_share is None:
            raise ConfigError(
                f"dataset.path={self.path}: has no test part. dataset.test_share=0.2 holds out a fifth of the"
                f" {train} images for testing, the same ones for every seed."
            )
        test = round(self.test_share * train)
        if not 1 <= test < train:
            raise ConfigError(
                f"dataset.test_share={self.test_share}: is {test} of {train} images; both parts need some."
            )
        return train - test, test


@dataclass
class Folder(OwnImages):
    """Pictures of your own: DIR/train/CLASS/*.png and DIR/test/CLASS/*.png (or jpg, jpeg, bmp, webp).

    Source: your pictures, laid out as for torchvision's ImageFolder.
    """

    name: str = "folder"
    size: int | None = knob(
        "pixels: the shorter side is resized to it, antialiased, and the centre cut out as a square; null: pictures are"
        " left as they are, and must be alike",
        default=None,
        at_least=1,
        at_most=4096,
    )
    grey: bool | None = knob(
        "read pictures as one grey channel; false: as three colours; null: grey if all of them are",
        default=None,
    )

    def found(self, data_dir: DataDir = None) -> PictureFolder:
        from mixbench.inventory import folder

        return folder.look(self.path, data_dir)

    def spec(self) -> DataSpec:
        found = self.found()
        train, test = self.sizes(len(found.train), len(found.test))
        return DataSpec(
            name=self.label(),
            title=f"the pictures in {found.path}",
            source=str(found.path),
            num_classes=len(found.classes),
            train_size=train,
            test_size=test,
            shape=found.shape(self.size, self.grey),
            labels="position of the class's folder in alphabetical order",
            classes=found.classes,
        )


@dataclass
class Arrays(OwnImages):
    """Images of your own in an .npz file: train_images, train_labels, test_images, test_labels, of any size.

    Source: your arrays, as written by numpy.savez or numpy.savez_compressed.
    """

    name: str = "arrays"

    def found(self, data_dir: DataDir = None) -> ArrayFile:
        from mixbench.inventory import arrays

        return arrays.look(self.path, data_dir)

    def spec(self) -> DataSpec:
        found = self.found()
        train, test = self.sizes(*(len(found.labels.get(part, ())) for part in ("train", "test")))
        return DataSpec(
            name=self.label(),
            title=f"the arrays in {found.path}",
            source=str(found.path),
            num_classes=len(found.classes),
            train_size=train,
            test_size=test,
            shape=found.shape,
            labels="position of the label among all, in ascending order or in that of the array classes",
            classes=found.classes,
        )


@dataclass
class Table(Dataset):
    """A table of numbers and categories, cut into training, validation and test rows.

    Source: the UCI Machine Learning Repository, as Zou et al. (2023), Table 4, take them from OpenML.
    """

    holds_out: ClassVar[str] = "choose a dataset.split with validation rows"

    name: str = knob("the table", choices=list(TABLES))
    split: str = knob("per cent of training, validation and test rows, stratified: 60/20/20")
    split_seed: int = knob("which rows they are", at_least=0)

    def spec(self) -> TableSpec:
        whole = TABLES[self.name]
        _, test = self.shares()
        return dataclasses.replace(whole, train_size=whole.rows - test, test_size=test)

    def shares(self) -> tuple[int, int]:
        """The number of validation and of test rows."""
        rows = TABLES[self.name].rows
        _, val, test = (int(share) for share in self.split.split("/"))
        return round(rows * val / 100), round(rows * test / 100)

    def held_out(self) -> int:
        return self.shares()[0]

    def problems(self) -> Iterator[str]:
        found = re.fullmatch(r"([1-9]\d?)/([1-9]\d?)/([1-9]\d?)", self.split)
        if not found or sum(map(int, found.groups())) != 100:
            yield (
                f"dataset.split={self.split}: must be three whole percentages of training, validation and test rows"
                " that sum to 100, such as 60/20/20."
            )


OPTIONS: dict[str, type] = {"images": Images, "folder": Folder, "arrays": Arrays, "table": Table}
