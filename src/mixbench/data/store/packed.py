"""Sources other than the official archives: plain .npz arrays, and a compact form with packed pictures.

The compact form is one or more .npz files for each split, in which `blob` (uint8) is a run of encoded pictures and
`lengths` (int64) the byte length of each. For CIFAR every picture is a vertical strip of images of size `hw` in
lossless WebP. For Tiny-ImageNet there is a sample of the validation images only, one JPEG for each.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mixbench.data.store.cache import Decoded
from mixbench.data.store.official import rgb
from mixbench.data.subset import split_off
from mixbench.errors import DataError
from mixbench.machine.memory import machine_memory
from mixbench.schema.specs import ARRAYS, DataSpec

_LABEL_KEY = {"cifar10": "labels", "cifar100": "fine"}
_TINY_SAMPLE = "tiny_imagenet200_val_sample.npz"
# What numpy, zipfile and Pillow raise; MemoryError for a header that claims more than its member holds, and a
# RuntimeError for a compression that Python does not know.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    MemoryError,
)


def holds_packed(spec: DataSpec, folder: Path) -> bool:
    """True if `folder` holds the compact form of `spec`."""
    if spec.name == "tiny_imagenet":
        return (folder / _TINY_SAMPLE).exists()
    return spec.name in _LABEL_KEY and bool(_parts(folder, spec.name, "train"))


def decode_packed(spec: DataSpec, folder: Path) -> Decoded:
    """The data set in the compact files in `folder`. DataError naming a file that cannot be decoded."""
    if spec.name == "tiny_imagenet":
        return _tiny_sample(folder / _TINY_SAMPLE)
    arrays: dict[str, NDArray] = {}
    inexact: dict[str, list[int]] = {}
    for split in ("train", "test"):
        images: list[NDArray] = []
        labels: list[NDArray] = []
        lossy: list[NDArray] = []
        for path in tqdm(_parts(folder, spec.name, split), desc=f"decoding {split}", disable=None):
            part = _load(path)
            with _named(path):
                height, width = part["hw"].tolist()
                lossy.append(part.get("lossy", np.empty(0, np.int64)) + sum(len(known) for known in labels))
                images += [rgb(picture).reshape(-1, height, width, 3) for picture in _pictures(part)]
                labels.append(part[_LABEL_KEY[spec.name]])
        if not images:
            raise DataError(f"{folder}: no {spec.name}_{split}*.npz beside the other files of {spec.name}.")
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = np.concatenate(images), np.concatenate(labels)
        inexact[split] = np.concatenate(lossy).tolist()
    inexact = {split: where for split, where in inexact.items() if where}
    return Decoded(arrays, f"packed files in {folder}", inexact=inexact)


# As Keras names what its data sets hold.
_KERAS = dict(zip(ARRAYS, ("x_train", "y_train", "x_test", "y_test"), strict=True))


def decode_npz(spec: DataSpec, path: Path) -> Decoded:
    """The data set in an .npz file with the four arrays of `specs.ARRAYS`, or with Keras's x_train, y_train, ...

    Grey images may come without the last axis, labels as a column, and images channels first, which is said in the
    source. Raises DataError if an array is missing or the file is damaged.
    """
    content = _load(path)
    names = _KERAS if "x_train" in content else {key: key for key in ARRAYS}
    missing = [name for name in names.values() if name not in content]
    if missing:
        raise DataError(
            f"{path}: needs the arrays {', '.join(names.values())}; {', '.join(missing)} not found "
            f"(it holds {', '.join(content) or 'nothing'})."
        )
    arrays, source = {key: content[name] for key, name in names.items()}, f"file {path}"
    height, width, channels = spec.shape
    for key, array in arrays.items():
        if key.endswith("labels") and np.issubdtype(array.dtype, np.integer):
            arrays[key] = (array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array).astype(np.int64)
        elif array.ndim == 3 and channels == 1:
            arrays[key] = array[..., None]
        elif array.shape[1:] == (channels, height, width) != spec.shape:
            arrays[key], source = array.transpose(0, 2, 3, 1), f"file {path}, channels first"
    return Decoded(arrays, source, published=False)


def _parts(folder: Path, name: str, split: str) -> list[Path]:
    """The files of one split: <name>_<split>.npz, or <name>_<split>_0.npz, _1, ... in the order of the numbers."""
    pattern = re.compile(rf"{name}_{split}(?:_(\d+))?\.npz")
    numbers = {
        path: int(match[1] or 0) for path in folder.iterdir() if (match := pattern.fullmatch(path.name))
    }
    return sorted(numbers, key=lambda path: numbers[path])


def _load(path: Path) -> dict[str, NDArray]:
    with _named(path):
        _check_size(path)
        with np.load(path, allow_pickle=False) as content:
            return {key: content[key] for key in content.files}


def _check_size(path: Path) -> None:
    """Raises ValueError for an archive that unpacks to more than fits into memory, or is encrypted: a small file may
    say that it holds terabytes, and may do so.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if any(member.flag_bits & 1 for member in members):
        raise ValueError("it is encrypted")
    size, free = sum(member.file_size for member in members), machine_memory()
    if size > free:
        raise ValueError(f"its arrays take {size:,} bytes of memory, and {free:,} are free")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turns what decoding raises into a DataError that names the file."""
    try:
        yield
    except _BROKEN as error:
        raise DataError(
            f"{path}: damaged, or not of the expected form ({type(error).__name__}: {error})."
        ) from error


def _pictures(part: Mapping[str, NDArray]) -> Iterator[bytes]:
    """The encoded pictures of a compact file, cut from its blob."""
    ends = np.cumsum(part["lengths"])
    if len(ends) == 0 or ends[-1] != len(part["blob"]):
        raise ValueError("lengths do not add up to the size of blob")
    for start, end in zip(ends - part["lengths"], ends, strict=True):
        yield part["blob"][start:end].tobytes()


def _tiny_sample(path: Path) -> Decoded:
    """600 validation images, 3 for each class: 2 of them to train, 1 to test, for trying things out."""
    part = _load(path)
    with _named(path):
        if part["wnids"].tolist() != sorted(part["wnids"].tolist()):
            raise ValueError("wnids are not in alphabetical order")
        images = np.stack([rgb(picture) for picture in _pictures(part)])
        labels = part["labels"]
        test, train = split_off(labels, len(labels) // 3)
    arrays = {
        "train_images": images[train],
        "train_labels": labels[train],
        "test_images": images[test],
        "test_labels": labels[test],
    }
    return Decoded(arrays, f"packed file {path}", published=False)
