"""Pictures on the disk as an array that is decoded where it is looked at."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mixbench.data import crop
from mixbench.errors import DataError
from mixbench.inventory.folder import FORMATS


@dataclass(frozen=True)
class Sums:
    """Exact sums over `count` images uint8 (count, H, W, C).

    `pixels` int64 (H, W, C) of the values, `squares` int64 (C,) of their squares.
    """

    count: int
    pixels: NDArray[np.int64]
    squares: NDArray[np.int64]


@dataclass
class Pictures:
    """N pictures of one shape: what an array uint8 (N, H, W, C) is asked for, this decodes.

    `pictures[3]` is uint8 (H, W, C), `pictures[[3, 1]]` and `pictures[:2]` are uint8 (2, H, W, C). Each file must have
    the SHA-256 in `sha256`, uint8 (N, 32). `size` and `resize` in pixels as in `decode`. `crop_area`: limits of the
    share of a picture that `cropped` cuts out. `spans` int64 (N, 2), offset and size: each file is TAR/MEMBER, whose
    bytes lie there in the tar; None: files of their own. `sums` are there once the pictures were all read.
    """

    folder: Path
    files: Sequence[str]
    sha256: NDArray[np.uint8]
    image_shape: tuple[int, int, int]
    size: int | None
    resize: int | None = None
    crop_area: tuple[float, float] | None = None
    spans: NDArray[np.int64] | None = None
    sums: Sums | None = field(default=None, compare=False)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self.files), *self.image_shape

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint8)

    @property
    def ndim(self) -> int:
        return 4

    @property
    def key(self) -> str:
        """Thirty-two hexadecimal digits that name these pixels: the files in their order, and how they are decoded."""
        resize = f" {self.resize}" if self.resize not in (None, self.size) else ""
        found = hashlib.sha256(f"{self.image_shape} {self.size}{resize}\n".encode())
        found.update(self.sha256.tobytes())
        return found.hexdigest()[:32]

    def take(self, indices: NDArray[np.int64]) -> Pictures:
        """The pictures at these positions, still on the disk."""
        files = [self.files[i] for i in indices.tolist()]
        spans = None if self.spans is None else self.spans[indices]
        return dataclasses.replace(self, files=files, sha256=self.sha256[indices], spans=spans, sums=None)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, where: Any) -> NDArray[np.uint8]:
        """Decode some. Raises DataError naming a picture that cannot be read, or is not the one that it was."""
        chosen = np.arange(len(self))[where]
        if chosen.ndim == 0:
            return self._decoded(int(chosen))
        pixels = np.empty((len(chosen), *self.image_shape), np.uint8)
        for place, i in enumerate(chosen.tolist()):
            pixels[place] = self._decoded(i)
        return pixels

    def cropped(self, indices: NDArray[np.int64], seed: int, step: int, first: int) -> NDArray[np.uint8]:
        """A random part of each of these pictures, uint8 (n, size, size, C); they are rows `first`, ... of a batch.

        What is drawn depends on seed, step and row alone. Raises DataError as above.
        """
        assert self.crop_area is not None
        assert self.size is not None
        area, size = self.crop_area, self.size
        pixels = np.empty((len(indices), *self.image_shape), np.uint8)
        for place, i in enumerate(indices.tolist()):
            random = crop.generator(seed, step, first + place)

            def cut(picture: Image.Image, random: np.random.Generator = random) -> Image.Image:
                return crop.resized_crop(picture, crop.random_box(random, *picture.size, area), size)

            pixels[place] = self._decoded(i, cut)
        return pixels

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        return self[:].astype(dtype or np.uint8, copy=False)

    def _decoded(self, i: int, cut: Callable[[Image.Image], Image.Image] | None = None) -> NDArray[np.uint8]:
        path = self.folder / self.files[i]
        try:
            data = path.read_bytes() if self.spans is None else _cut_out(path, *self.spans[i].tolist())
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}.") from None
        if hashlib.sha256(data).digest() != self.sha256[i].tobytes():
            raise DataError(f"{path}: is not the picture any more that it was when the run was set up.")
        try:
            picture = opened(data, self.image_shape[2])
            picture = cut(picture) if cut else _shaped(picture, self.size, self.resize)
            pixels = np.asarray(picture).reshape(picture.height, picture.width, self.image_shape[2])
        except Exception as error:  # Pillow raises whatever its decoders meet
            raise DataError(f"{path}: cannot be decoded ({type(error).__name__}: {error}).") from None
        if pixels.shape != self.image_shape:  # its header said otherwise
            raise DataError(f"{path}: has shape {pixels.shape}, expected {self.image_shape}.")
        return pixels


def _cut_out(path: Path, offset: int, size: int) -> bytes:
    """So many bytes of the tar in which `path` lies as TAR/MEMBER."""
    tar = next(parent for parent in path.parents if parent.suffix == ".tar")
    with tar.open("rb", buffering=0) as file:
        file.seek(offset)
        return file.read(size)


def decode(
    data: bytes, channels: int, size: int | None = None, resize: int | None = None
) -> NDArray[np.uint8]:
    """The pixels of an encoded picture, uint8 (H, W, channels), as torchvision has them.

    For a `size`, Resize(resize) and CenterCrop(size) of the picture; `resize` None: the same as size. Raises what
    Pillow raises.
    """
    picture = _shaped(opened(data, channels), size, resize)
    return np.asarray(picture).reshape(picture.height, picture.width, channels)


def opened(data: bytes, channels: int) -> Image.Image:
    """An encoded picture, grey for one channel and red, green, blue for three by Pillow's `convert`.

    What is transparent shows the colour below. A note in a photograph that it should be turned is not looked at.
    """
    picture: Image.Image
    with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
        if picture.mode == "P" and "transparency" in picture.info:
            picture = picture.convert("RGBA")  # Pillow would give a warning, and the same colours
        return picture.convert("L" if channels == 1 else "RGB")


def _shaped(picture: Image.Image, size: int | None, resize: int | None) -> Image.Image:
    return picture if size is None else crop.centre(picture, size, resize or size)
