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
from typing import TYPE_CHECKING, Any

from mixbench.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PARTS = ("test", "val", "train")
SUFFIXES = (".png", ".jpg", ".jpeg")
NAMES = (("images", "labels"), ("inputs", "labels"), ("test_images", "test_labels"))


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
    path = Path(given).expanduser()
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


def own(path: Path, shape: Sequence[int], class_names: Sequence[str]) -> tuple[NDArray, NDArray[np.int64]]:
    """Images (N, H, W, C) as they are stored, and labels int64 (N,) below len(class_names), of a file or folder.

    Images that are decoded have to be of the size in `shape`, (H, W, C), and are made grey or coloured as it says.
    Raises DataError for what does not fit.
    """
    images, labels = _decoded(path, shape, class_names) if path.is_dir() else _arrays(path)
    if labels.shape != images.shape[:1] or not len(labels):
        raise DataError(
            f"{path}: {images.shape} images and {labels.shape} labels; there must be one of each, or more."
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= len(class_names):
        raise DataError(f"{path}: labels must be whole numbers from 0 to {len(class_names) - 1}.")
    return images, labels.astype("int64")


def _arrays(path: Path) -> tuple[NDArray, NDArray]:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            for images, labels in NAMES:
                if images in file and labels in file:
                    return file[images], file[labels]
            there = ", ".join(file) or "nothing"
    except (OSError, ValueError, AttributeError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: is no .npz file of arrays: {error}") from None
    known = "; ".join(" and ".join(names) for names in NAMES)
    raise DataError(f"{path}: has {there}; needed are the arrays {known}.")


def _decoded(path: Path, shape: Sequence[int], class_names: Sequence[str]) -> tuple[NDArray, NDArray]:
    import numpy as np
    from PIL import Image

    height, width, channels = shape
    mode = {1: "L", 3: "RGB"}.get(channels)
    if mode is None:
        raise DataError(
            f"{path}: files are decoded into 1 or 3 channels, not {channels}; give them as an .npz file."
        )
    images, labels = list[Any](), []
    for file in _files(path):
        name = file.relative_to(path).parts[0]
        if name not in class_names:
            raise DataError(f"{path}: '{name}' is no class of the run, which knows {', '.join(class_names)}.")
        try:
            with Image.open(file) as image:
                pixels = np.asarray(image.convert(mode))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{file}: cannot be decoded: {error}") from None
        if pixels.shape[:2] != (height, width):
            raise DataError(
                f"{file}: {pixels.shape[0]}x{pixels.shape[1]} pixels (height x width); the run takes {height}x{width}."
            )
        images.append(pixels.reshape(height, width, channels))
        labels.append(class_names.index(name))
    if not images:
        raise DataError(f"{path}: there is no folder CLASS with files {', '.join(SUFFIXES)}.")
    return np.stack(images), np.array(labels)


def _files(path: Path) -> Iterator[Path]:
    """The images below CLASS/, in a stable order."""
    yield from sorted(
        file for file in path.glob("*/**/*") if file.suffix.lower() in SUFFIXES and file.is_file()
    )
