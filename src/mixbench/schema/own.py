"""Knobs of the options for images of one's own: folders of pictures, shards, arrays."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mixbench.errors import ConfigError
from mixbench.files import expanded
from mixbench.schema.examples import DataDir, ImageDataset
from mixbench.schema.knob import knob
from mixbench.schema.photographs import Photographs, Streamable
from mixbench.schema.specs import SPECS, DataSpec

if TYPE_CHECKING:
    from mixbench.inventory.arrays import ArrayFile
    from mixbench.inventory.folder import PictureFolder


@dataclass
class OwnImages(Streamable, ImageDataset):
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
class Folder(Photographs, OwnImages):
    """Pictures of your own: DIR/train/CLASS/*.png and DIR/test/CLASS/*.png (or jpg, jpeg, bmp, webp).

    Source: your pictures, laid out as for torchvision's ImageFolder.
    """

    name: str = "folder"
    grey: bool | None = knob(
        "read pictures as one grey channel; false: as three colours; null: grey if all of them are",
        default=None,
    )

    def problems(self) -> Iterator[str]:
        yield from self.crop_problems()
        yield from super().problems()

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
class Shards(Folder):
    """Pictures of your own in WebDataset shards: DIR/train-000000.tar, ... and DIR/test-000000.tar (or val-), ...

    Source: your shards, as webdataset's ShardWriter writes KEY.jpg and KEY.cls.
    """

    name: str = "shards"

    def found(self, data_dir: DataDir = None) -> PictureFolder:
        from mixbench.inventory import shards

        return shards.look(self.path, data_dir)


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
