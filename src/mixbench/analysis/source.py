"""What a network is measured on: a part of its run's data, or a file or folder of one's own. Imports no torch.

images.npz      arrays `images` or `inputs` (N, H, W, C) and `labels`; or `test_images` and `test_labels`
folder/CLASS/   images as .png or .jpg, below the name of their class
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mixbench.errors import ConfigError, DataError
from mixbench.files import expanded
from mixbench.inventory.folder import SUFFIXES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PARTS = ("test", "val", "train")
SHOWN = 10  # classes, in words
NAMES = (("images", "labels"), ("inputs", "labels"), ("test_images", "test_labels"))


class NoSuchPart(ConfigError):
    """A run whose data have no part of the name asked for."""


@dataclass(frozen=True)
class Source:
    """One of PARTS, or a `path` with the SHA-256 of what is there. `name` is what its evaluations are called by."""

    name: str
    path: Path | None = None
    sha256: str = ""


def source(given: str) -> Source:
    """What `--on` names. Raises DataError for a path where nothing is."""
    if given in PARTS:
        return Source(given)
    path = expanded(given)
    try:
        digest = hashlib.sha256()
        for part in _files(path) if path.is_dir() else [path]:
            content = part.read_bytes()
            if path.is_dir():
                digest.update(f"{part.relative_to(path)} {len(content)}\n".encode())
            digest.update(content)
    except OSError as error:
        raise DataError(
            f"--on {given}: neither test, val nor train, nor a file or folder that can be read ({error.strerror})."
        ) from None
    return Source(f"{path.resolve().stem}-{digest.hexdigest()[:8]}", path, digest.hexdigest())


def own(
    path: Path, shape: Sequence[int], class_names: Sequence[str], size: int | None = None
) -> tuple[NDArray, NDArray[np.int64], str]:
    """Images (N, H, W, C) and labels int64 (N,), places in `class_names`, of a file or folder; and how they were read.

    Labels are names of classes, or places. Pictures are decoded as in training, for a `size` resized and cut to it, and
    have to be of the `shape` (H, W, C) then. Raises DataError for what does not fit.
    """
    if path.is_dir():
        (images, labels), note = _decoded(path, shape, size), ""
    else:
        images, labels, note = _arrays(path)
    images = images[..., None] if images.ndim == 3 else images
    if labels.shape != images.shape[:1] or not len(labels):
        raise DataError(
            f"{path}: {images.shape} images and {labels.shape} labels; there must be as many of each."
        )
    if labels.dtype.kind in "iu" and not _are_names(class_names):
        note += "; label 0 is " + ", ".join(
            f"{k} {name}" if k else name for k, name in enumerate(class_names[:SHOWN])
        )
        note += " ..." if len(class_names) > SHOWN else ""
    return images, _places(path, labels, class_names), note


def _are_names(class_names: Sequence[str]) -> bool:
    """Whether whole numbers are names: where all names are numbers, as those of a run trained on such labels."""
    return all(name.lstrip("-").isdecimal() for name in class_names)


def _places(path: Path, labels: NDArray, class_names: Sequence[str]) -> NDArray[np.int64]:
    """Where the labels stand among the classes."""
    import numpy as np

    if labels.dtype.kind not in "iuUS":
        raise DataError(f"{path}: labels are {labels.dtype}; allowed: whole numbers or texts.")
    named = labels.dtype.kind in "US" or _are_names(class_names)
    known = {name: i for i, name in enumerate(class_names if named else map(str, range(len(class_names))))}
    texts = (np.char.decode(labels, "utf-8") if labels.dtype.kind == "S" else labels.astype(str)).tolist()
    unknown = sorted(set(texts) - known.keys())
    if unknown:
        allowed = ", ".join(class_names) if named else f"0 to {len(class_names) - 1}"
        parts = [name for name in unknown if path.is_dir() and name in ("train", "test", "val")]
        hint = f" Give {path / parts[-1]} for the part of that name." if parts else ""
        raise DataError(f"{path}: {unknown[0]} is no class of the run, which knows {allowed}.{hint}")
    return np.array([known[text] for text in texts], np.int64)


def _arrays(path: Path) -> tuple[NDArray, NDArray, str]:
    """Images, labels, and the names of the two arrays."""
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            for images, labels in NAMES:
                if images in file and labels in file:
                    return file[images], file[labels], f"arrays {images} and {labels}"
            there = ", ".join(file) or "nothing"
    except (OSError, ValueError, AttributeError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: is no .npz file of arrays: {error}") from None
    known = "; ".join(" and ".join(names) for names in NAMES)
    raise DataError(f"{path}: has {there}; needed are the arrays {known}.")


def _decoded(path: Path, shape: Sequence[int], size: int | None) -> tuple[NDArray, NDArray]:
    """All pictures, and the names of their classes."""
    import numpy as np

    from mixbench.data.pictures import decode

    if len(shape) != 3:
        raise DataError(
            f"{path}: holds pictures; the run takes inputs of shape {tuple(shape)}, in an .npz file."
        )
    height, width, channels = shape
    if channels not in (1, 3):
        raise DataError(f"{path}: pictures have 1 or 3 channels, not {channels}; give these as an .npz file.")
    images, labels = [], []
    for file in _files(path):
        try:
            pixels = decode(file.read_bytes(), channels, size)
        except Exception as error:  # Pillow raises whatever its decoders meet
            raise DataError(f"{file}: cannot be decoded ({type(error).__name__}: {error}).") from None
        if pixels.shape[:2] != (height, width):
            raise DataError(
                f"{file}: {pixels.shape[0]}x{pixels.shape[1]} pixels (height x width); the run takes {height}x{width}."
            )
        images.append(pixels)
        labels.append(file.relative_to(path).parts[0])
    if not images:
        raise DataError(f"{path}: there is no folder CLASS with files {', '.join(SUFFIXES)}.")
    return np.stack(images), np.array(labels)


def _files(path: Path) -> Iterator[Path]:
    """The pictures below CLASS/, in a stable order."""
    yield from sorted(
        file for file in path.glob("*/**/*") if file.suffix.lower() in SUFFIXES and file.is_file()
    )
