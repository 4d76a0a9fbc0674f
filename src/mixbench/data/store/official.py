"""Decoders of the official archives: torchvision's data set classes, and our reader of Tiny-ImageNet's zip."""

from __future__ import annotations

import gzip
import io
import pickle
import shutil
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from mixbench.data.store.cache import Arrays, Decoded
from mixbench.errors import DataError
from mixbench.inventory.folder import FORMATS
from mixbench.schema.specs import DataSpec

Files = Mapping[str, Path]

# What the standard library, Pillow and torchvision raise for archives that are not what their name says.
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    gzip.BadGzipFile,
    pickle.UnpicklingError,
    struct.error,
    EOFError,
    KeyError,
    IndexError,
    RuntimeError,
    ValueError,
    TypeError,
)


def decode(spec: DataSpec, files: Files, scratch: Path) -> Decoded:
    """The data set in the official archives `files` (by file name), unpacked into the empty folder `scratch`.

    Raises DataError naming the archives if they cannot be decoded.
    """
    try:
        arrays = _DECODERS[spec.name](files, scratch)
    except _BROKEN as error:
        places = ", ".join(map(str, files.values()))
        raise DataError(f"{places}: cannot be decoded ({type(error).__name__}: {error}).") from error
    return Decoded(arrays, source=f"official archive {', '.join(files)}")


def unpacked(spec: DataSpec, source: Path) -> Decoded | None:
    """The data set in a folder where torchvision has unpacked it: `root`, or the folder that it made there.

    None where there is no such folder, or torchvision cannot check the files in it by their MD5 sums (all but CIFAR
    and STL-10). Raises DataError for files with other sums.
    """
    from torchvision import datasets

    found = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100, "stl10": datasets.STL10}.get(
        spec.name
    )
    root = next((r for r in (source, source.parent) if found and (r / found.base_folder).is_dir()), None)
    if found is None or root is None or source not in (root, root / found.base_folder):
        return None
    try:
        arrays = _stl10_in(root) if spec.name == "stl10" else _cifar_in(found, root)
    except _BROKEN as error:
        raise DataError(f"{root / found.base_folder}: cannot be read ({error}).") from error
    return Decoded(arrays, source=f"unpacked archive {root / found.base_folder}")


def digits(spec: DataSpec) -> Decoded:
    """scikit-learn's digits, grey values 0..16 times 15 as uint8 (N, 8, 8, 1), with a fixed stratified split."""
    from sklearn.datasets import load_digits

    from mixbench.data.subset import split_off

    pixels, labels = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 8, 8, 1) * 15).astype(np.uint8)
    test, train = split_off(labels.astype(np.int64), spec.test_size)
    arrays = _arrays((images[train], labels[train]), (images[test], labels[test]))
    return Decoded(arrays, source="scikit-learn")


def _arrays(train: tuple[Any, Any], test: tuple[Any, Any]) -> Arrays:
    out: dict[str, NDArray] = {}
    for split, (images, labels) in (("train", train), ("test", test)):
        out[f"{split}_images"] = np.ascontiguousarray(images, dtype=np.uint8)
        out[f"{split}_labels"] = np.asarray(labels, dtype=np.int64)
    return out


def _cifar(class_name: str, files: Files, scratch: Path) -> Arrays:
    from torchvision import datasets

    cls = getattr(datasets, class_name)
    wanted = [name for name, _ in cls.train_list + cls.test_list] + [cls.meta["filename"]]
    _unpack(files[cls.filename], {f"{cls.base_folder}/{name}" for name in wanted}, scratch)
    return _cifar_in(cls, scratch)


def _cifar_in(cls: Any, root: Path) -> Arrays:
    """What torchvision's CIFAR10 or CIFAR100 reads below `root`, its pickles once their MD5 sums are right."""
    train, test = cls(root, train=True), cls(root, train=False)
    return _arrays(*((part.data, part.targets) for part in (train, test)))


def _svhn(files: Files, scratch: Path) -> Arrays:
    from torchvision.datasets import SVHN

    folder = next(iter(files.values())).parent
    train, test = SVHN(folder, split="train"), SVHN(folder, split="test")
    return _arrays(*((part.data.transpose(0, 2, 3, 1), part.labels) for part in (train, test)))


def _stl10(files: Files, scratch: Path) -> Arrays:
    cls = _labelled_stl10()
    names = [name for name, _ in cls.train_list + cls.test_list]
    _unpack(files[cls.filename], {f"{cls.base_folder}/{name}" for name in names}, scratch)
    return _stl10_in(scratch)


def _stl10_in(root: Path) -> Arrays:
    cls = _labelled_stl10()
    train, test = cls(root, split="train"), cls(root, split="test")
    return _arrays(*((part.data.transpose(0, 2, 3, 1), part.labels) for part in (train, test)))


def _labelled_stl10() -> Any:
    from torchvision.datasets import STL10

    class Labelled(STL10):
        """STL-10 without its 2.8 GB of unlabelled images, which need not be unpacked then."""

        train_list = STL10.train_list[:2]

    return Labelled


def _mnist_type(class_name: str, files: Files, scratch: Path) -> Arrays:
    from torchvision import datasets

    cls = getattr(datasets, class_name)
    raw = scratch / class_name / "raw"
    raw.mkdir(parents=True)
    for name, path in files.items():
        with gzip.open(path) as packed, (raw / name.removesuffix(".gz")).open("wb") as plain:
            shutil.copyfileobj(packed, plain)
    train, test = cls(scratch, train=True), cls(scratch, train=False)
    return _arrays(*((part.data.numpy()[..., None], part.targets) for part in (train, test)))


def _tiny_imagenet(files: Files, scratch: Path) -> Arrays:
    """Classes in alphabetical order of their WordNet ids, and their images in that of their names, as ImageFolder.

    The official validation set is the test set, in the order of its annotation file.
    """
    top = "tiny-imagenet-200"
    (path,) = files.values()
    with zipfile.ZipFile(path) as archive:
        _refuse_escape(archive.namelist())
        wnids = sorted(archive.read(f"{top}/wnids.txt").decode().split())
        label_of = {wnid: label for label, wnid in enumerate(wnids)}
        train = sorted(
            (label_of[member.parts[2]], name)
            for name in archive.namelist()
            if (member := PurePosixPath(name)).match(f"{top}/train/*/images/*.JPEG")
        )
        rows = archive.read(f"{top}/val/val_annotations.txt").decode().splitlines()
        test = [
            (label_of[wnid], f"{top}/val/images/{file}")
            for file, wnid, *_ in (row.split("\t") for row in rows)
        ]
        return _arrays(_jpegs(archive, train), _jpegs(archive, test))


def _jpegs(archive: zipfile.ZipFile, members: list[tuple[int, str]]) -> tuple[NDArray, NDArray]:
    """Images and labels of `members`, pairs of a label and a member's name."""
    images = np.empty((len(members), 64, 64, 3), np.uint8)
    for i, (_, name) in enumerate(tqdm(members, desc="decoding", unit="image", disable=None)):
        images[i] = rgb(archive.read(name))
    return images, np.array([label for label, _ in members], np.int64)


def rgb(picture: bytes) -> NDArray[np.uint8]:
    """The pixels of an encoded picture as uint8 (H, W, 3), grey ones repeated.

    Raises ValueError if it is damaged, too large, or of none of FORMATS: for others Pillow may start a program.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return np.asarray(Image.open(io.BytesIO(picture), formats=FORMATS).convert("RGB"))
    except (OSError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"damaged picture: {error}") from error  # an OSError of Pillow is none of the disk's


def _unpack(path: Path, wanted: Collection[str], folder: Path) -> None:
    """Writes the `wanted` members of a tar archive, and no others, into `folder`."""
    with tarfile.open(path) as archive:
        for member in archive:
            _refuse_escape([member.name])
            content = archive.extractfile(member) if member.name in wanted and member.isfile() else None
            if content is not None:
                target = folder / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                with content, target.open("wb") as file:
                    shutil.copyfileobj(content, file)


def _refuse_escape(names: Iterable[str]) -> None:
    for name in names:
        if name.startswith(("/", "\\")) or ".." in PurePosixPath(name).parts:
            raise ValueError(f"member '{name}' would be written outside the archive's folder")


_DECODERS: dict[str, Callable[[Files, Path], Arrays]] = {
    "cifar10": lambda files, scratch: _cifar("CIFAR10", files, scratch),
    "cifar100": lambda files, scratch: _cifar("CIFAR100", files, scratch),
    "svhn": _svhn,
    "stl10": _stl10,
    "tiny_imagenet": _tiny_imagenet,
    "fashion_mnist": lambda files, scratch: _mnist_type("FashionMNIST", files, scratch),
    "kmnist": lambda files, scratch: _mnist_type("KMNIST", files, scratch),
}
