"""Images of one's own: the options `folder` and `arrays`; and ImageNet, which lies in folders of one's own too."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mixbench.data.pictures import Pictures
from mixbench.data.splits import Split, Splits, cut, take
from mixbench.data.statistics import chunks
from mixbench.data.subset import split_off
from mixbench.errors import ConfigError, DataError
from mixbench.inventory import looking_once
from mixbench.inventory.arrays import ArrayFile
from mixbench.inventory.folder import SHOWN, Picture, PictureFolder
from mixbench.schema.imagenet import ImageNet, incomplete
from mixbench.schema.own import Arrays, Folder, OwnImages, Shards
from mixbench.schema.specs import DataSpec

DataDir = str | os.PathLike[str] | None


def load_folder(options: Folder, data_dir: DataDir) -> Splits:
    """The pictures in a folder or in shards, still on the disk. Raises ConfigError, DataError."""
    with looking_once():
        found = options.found(data_dir)
        spec = options.spec()

    train = _pictures(options, found, spec, found.train)
    test = _pictures(options, found, spec, found.test) if found.test else None
    return _cut(options, found.content, spec, train, test, _no_pictures(found))


def load_imagenet(options: ImageNet, data_dir: DataDir) -> Splits:
    """The photographs of ImageNet, or of a hundred of its classes, still on the disk. Raises ConfigError, DataError.

    The note says where it is not the whole set.
    """
    if lacking := options.lacking():
        raise DataError(f"{lacking}.")
    with looking_once():
        found = options.found(data_dir)
        spec = options.spec()
    train, test = (_pictures(options, found, spec, part) for part in (found.train, found.test))
    note = "; ".join(filter(None, (incomplete(found), _no_pictures(found))))
    sizes = {key: getattr(options, key) for key in ("train_size", "test_size", "val_size")}
    return cut(spec, train, test, note, sha256={"content": found.content}, **sizes)


def _pictures(
    options: Folder | ImageNet, found: PictureFolder, spec: DataSpec, pictures: Sequence[Picture]
) -> Split:
    sha256 = np.frombuffer(bytes.fromhex("".join(p.sha256 for p in pictures)), np.uint8).reshape(-1, 32)
    inputs = Pictures(
        found.path,
        [p.file for p in pictures],
        sha256,
        spec.shape,  # type: ignore[arg-type]  # height, width, channels
        options.size,
        resize=options.resize,
        crop_area=options.cropped(),
        spans=np.array([(p.offset, p.size) for p in pictures]) if isinstance(options, Shards) else None,
    )
    return Split(inputs, np.array([p.label for p in pictures], np.int64))


def _no_pictures(found: PictureFolder) -> str:
    return _left_out("files that are no pictures by their names", found.left_out)


def load_arrays(options: Arrays, data_dir: DataDir) -> Splits:
    """The images in an .npz file, in memory. Raises ConfigError, DataError."""
    with looking_once():
        found = options.found(data_dir)
        spec = options.spec()
    parts = {part: Split(_images(found, part), found.labels[part]) for part in found.images}
    note = _left_out("arrays that are not asked for", found.unused)
    height, width, channels = found.shape
    if height == 1 and width == channels > 4:
        note = f"{note}; " if note else ""
        note += (
            f"images of {height}x{width}x{channels} look like channels first; what is read is (N, H, W, C)"
        )
    return _cut(options, found.content, spec, parts["train"], parts.get("test"), note)


def _left_out(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"left out, {what}: {', '.join(names[:SHOWN])}{more}"


def _cut(
    options: OwnImages, content: str, spec: DataSpec, train: Split, test: Split | None, note: str
) -> Splits:
    if options.content not in (None, content):
        raise DataError(
            f"{options.path}: was changed since the run was set up: its content is {content}, expected"
            f" {options.content}. Start again to train on what is there now, which is another run."
        )
    if test is None:
        held_out, rest = split_off(train.labels, spec.test_size)
        test, train = take(train, held_out), take(train, rest)
        empty = np.setdiff1d(np.arange(spec.num_classes), train.labels)
        if len(empty):
            raise ConfigError(
                f"dataset.test_share={options.test_share}: leaves no image of class {spec.class_name(empty[0])} to"
                " train on; there are too few of them."
            )
    sizes = {key: getattr(options, key) for key in ("train_size", "test_size", "val_size")}
    return cut(spec, train, test, note, sha256={"content": content}, **sizes)


def _images(found: ArrayFile, part: str) -> NDArray:
    """uint8 or float32 (N, H, W, C). Raises DataError for floats that are not finite."""
    images = found.read(part)
    if images.dtype == np.uint8:
        return images
    with np.errstate(over="ignore"):  # what is too large for float32 is infinite there
        images = images.astype(np.float32)
    start = 0
    for chunk in chunks(images):
        bad = np.flatnonzero(~np.isfinite(chunk).all((1, 2, 3)))
        if len(bad):
            raise DataError(
                f"{found.path}: {found.images[part]}[{start + bad[0]}] is not finite: it has NaN, or numbers beyond"
                " those of float32."
            )
        start += len(chunk)
    return images
