"""The arrays in an .npz file: shapes, classes and a checksum, without loading the images. Pickles are never loaded."""

from __future__ import annotations

import hashlib
import math
import os
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from mixbench.errors import ConfigError, DataError
from mixbench.files import expanded
from mixbench.inventory import remembered
from mixbench.inventory.index import Index

if TYPE_CHECKING:  # imported where a file is looked at
    import numpy as np
    from numpy.typing import NDArray

LAYOUT = (
    "train_images, train_labels, test_images and test_labels, or images and labels"
    " (then with dataset.test_share=0.2)"
)
CHUNK = 1 << 22  # bytes
LONGEST_LABEL = 4096  # bytes
SHOWN = 5  # of many labels, in a message


class Header(NamedTuple):
    """What an array says of itself."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype


@dataclass(frozen=True)
class ArrayFile:
    """An .npz file. `images` maps the parts that it has ("train", "test") to the names of their arrays.

    `shape` is (H, W, C) and `dtype` that of the images as they lie there; `labels` are int64 (N,), positions in
    `classes`. `content` is a SHA-256 of the used arrays, which depends neither on the place nor on the compression.
    """

    path: Path
    images: Mapping[str, str]
    labels: Mapping[str, NDArray[np.int64]]
    shape: tuple[int, int, int]
    dtype: np.dtype
    classes: tuple[str, ...]
    unused: tuple[str, ...]
    content: str
    stamp: tuple[int, int]  # size and time of the file

    def read(self, part: str) -> NDArray:
        """The images of a part, (N, H, W, C) in the type in which they lie there. Raises DataError."""
        import numpy as np

        with _opened(self.path) as (archive, status):
            if (status.st_size, status.st_mtime_ns) != self.stamp:
                raise DataError(f"{self.path}: was changed while mixbench looked at it. Start again.")
            with archive.open(f"{self.images[part]}.npy") as file:
                return np.lib.format.read_array(file, allow_pickle=False).reshape(-1, *self.shape)


def look(path: str, data_dir: str | os.PathLike[str] | None = None) -> ArrayFile:
    """What is in the file `path`. It is read once, a piece at a time.

    Raises ConfigError for arrays that cannot be trained on, DataError for a file that is damaged or holds objects.
    """
    if not path:
        raise ConfigError(
            f"dataset.path: is not given; dataset=arrays reads dataset.path=FILE.npz with {LAYOUT}."
        )
    place = expanded(path).absolute()
    return remembered(("arrays", place), lambda: _looked(place, data_dir))


def _looked(path: Path, data_dir: str | os.PathLike[str] | None) -> ArrayFile:
    if not path.is_file():
        what = "is a folder; dataset=folder takes pictures" if path.is_dir() else "no such file"
        raise ConfigError(f"dataset.path={path}: {what}. dataset=arrays reads an .npz file with {LAYOUT}.")
    with _opened(path) as (archive, status):
        held = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        used = _used(path, held)
        headers = {name: _header(path, archive, name) for names in used.values() for name in names}
        if "classes" in held:
            headers["classes"] = _header(path, archive, "classes")
            _check_labels(path, "classes", headers["classes"])
        shape, dtype = _image_type(path, used, headers)
        images = {part: names[0] for part, names in used.items()}
        labels = {part: names[1] for part, names in used.items()}
        for part, name in labels.items():
            _check_labels(path, name, headers[name], headers[images[part]].shape[0])
        given = {part: _texts_or_numbers(path, archive, name) for part, name in labels.items()}
        names = _texts_or_numbers(path, archive, "classes") if "classes" in headers else None
        classes, positions = _classes(path, labels, given, names)
        return ArrayFile(
            path=path,
            images=images,
            labels=positions,
            shape=shape,
            dtype=dtype,
            classes=classes,
            unused=tuple(sorted(set(held) - set(headers))),
            content=_content(path, archive, status, headers, data_dir),
            stamp=(status.st_size, status.st_mtime_ns),
        )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, os.stat_result]]:
    """The open archive, and the status of the very file. What reading it raises becomes a DataError."""
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            yield archive, os.fstat(file.fileno())
    except MemoryError:
        raise DataError(f"{path}: the arrays do not fit into the memory of this machine.") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{path}: cannot be read, is damaged, or is no .npz file ({error}).") from None


# --- arrays -------------------------------------------------------------------------------------


def _used(path: Path, held: list[str]) -> dict[str, tuple[str, str]]:
    """The names of images and labels of each part."""
    whole = {"train": ("images", "labels")}
    split = {"train": ("train_images", "train_labels"), "test": ("test_images", "test_labels")}
    there = set(held)
    if there & {"images", "labels"} and not there & {name for names in split.values() for name in names}:
        used = whole
    else:
        used = split if there & {*split["test"]} else {"train": split["train"]}
    missing = [name for names in used.values() for name in names if name not in there]
    if missing:
        raise ConfigError(
            f"dataset.path={path}: has no array {', '.join(missing)}. It needs {LAYOUT};"
            f" it holds {', '.join(held) or 'nothing'}."
        )
    if there & {"images", "labels"} and used is not whole:
        raise ConfigError(f"dataset.path={path}: holds both train_images and images; which of them is meant?")
    return used


def _header(path: Path, archive: zipfile.ZipFile, name: str) -> Header:
    """The header of an array whose size is what it says. Raises DataError."""
    import numpy as np

    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise DataError(f"{path}: {name} has a structured type; plain arrays are needed.")
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        header = Header(*read(file))
        start = file.tell()
    if header.dtype.hasobject:
        raise DataError(
            f"{path}: {name} holds Python objects, which may hide a program and are never loaded; save it as an array"
            " of numbers, or of texts."
        )
    bytes_said = math.prod(header.shape) * header.dtype.itemsize
    if min(header.shape, default=0) < 0 or info.file_size - start != bytes_said:
        raise DataError(
            f"{path}: is damaged: {name} claims to be {header.dtype} {header.shape}, which is {bytes_said:,} bytes,"
            f" and has {info.file_size - start:,}."
        )
    return header


def _image_type(
    path: Path, used: Mapping[str, tuple[str, str]], headers: Mapping[str, Header]
) -> tuple[tuple[int, int, int], np.dtype]:
    """(H, W, C) and type of the images. Raises ConfigError."""
    kinds: dict[str, tuple[tuple[int, ...], bool]] = {}
    for name, _ in used.values():
        shape, _, dtype = headers[name]
        if not (dtype == "uint8" or (dtype.kind == "f" and dtype.itemsize <= 8)):
            raise ConfigError(
                f"dataset.path={path}: {name} are {dtype}; allowed: uint8, which counts as 0 to 1, and floats."
            )
        if len(shape) not in (3, 4) or 0 in shape:
            raise ConfigError(
                f"dataset.path={path}: {name} have shape {shape}; needed: (N, H, W, C), or (N, H, W) for one channel."
            )
        if len(shape) == 4 and shape[1] == 3 and min(shape[2:]) > 4:
            raise ConfigError(
                f"dataset.path={path}: {name} have shape {shape}, which is channels first; needed: (N, H, W, C), as"
                f" {name}.transpose(0, 2, 3, 1) gives it."
            )
        kinds[name] = ((*shape[1:], 1)[:3], dtype == "uint8")
    (first, (shape, is_uint8)), *others = kinds.items()
    for name, kind in others:
        if kind != (shape, is_uint8):
            raise ConfigError(
                f"dataset.path={path}: {name} are {headers[name].dtype} {headers[name].shape[1:]}, and {first}"
                f" {headers[first].dtype} {headers[first].shape[1:]}; they must be alike."
            )
    height, width, channels = shape
    return (height, width, channels), headers[first].dtype


def _content(
    path: Path,
    archive: zipfile.ZipFile,
    status: os.stat_result,
    headers: Mapping[str, Header],
    data_dir: str | os.PathLike[str] | None,
) -> str:
    """SHA-256 of the arrays, from the index if that knows the file."""
    from tqdm import tqdm

    index = Index(path, data_dir)
    known = index.known(path.name, status)
    if known:
        return str(known[0])
    digest, read_at = hashlib.sha256(), time.time_ns()
    total = sum(archive.getinfo(f"{name}.npy").file_size for name in headers)
    with tqdm(
        total=total,
        desc=f"reading {path.name}",
        unit="B",
        unit_scale=True,
        delay=1,
        leave=False,
        disable=None,
    ) as bar:
        for name in sorted(headers):
            shape, fortran, dtype = headers[name]
            digest.update(f"{name} {dtype.str} {shape} {fortran}\n".encode())
            with archive.open(f"{name}.npy") as file:
                _skip_header(file)
                size = 0
                while piece := file.read(CHUNK):
                    digest.update(piece)
                    size += len(piece)
                    bar.update(len(piece))
            if size != math.prod(shape) * dtype.itemsize:
                raise DataError(f"{path}: is damaged: {name} ends after {size:,} bytes.")
    index.note(path.name, status, read_at, [digest.hexdigest()])
    index.save()
    return digest.hexdigest()


def _skip_header(file: IO[bytes]) -> None:
    import numpy as np

    if np.lib.format.read_magic(file) == (1, 0):
        np.lib.format.read_array_header_1_0(file)
    else:
        np.lib.format.read_array_header_2_0(file)


# --- labels and classes -------------------------------------------------------------------------


def _check_labels(path: Path, name: str, header: Header, images: int | None = None) -> None:
    """Raises ConfigError unless there is one label for each image. They are loaded only then."""
    shape, _, dtype = header
    needed = "one for each class" if images is None else f"({images},), one for each image"
    images = math.prod(shape) if images is None else images
    if dtype.kind not in "iubUS" or dtype.itemsize > LONGEST_LABEL:
        raise ConfigError(f"dataset.path={path}: {name} are {dtype}; allowed: whole numbers or texts.")
    if shape not in ((images,), (images, 1)):
        raise ConfigError(f"dataset.path={path}: {name} have shape {shape}; needed: {needed}.")


def _texts_or_numbers(path: Path, archive: zipfile.ZipFile, name: str) -> NDArray:
    """A one-dimensional array of texts or whole numbers."""
    import numpy as np

    with archive.open(f"{name}.npy") as file:
        found = np.lib.format.read_array(file, allow_pickle=False).reshape(-1)
    if found.dtype.kind == "S":
        found = np.char.decode(found, "utf-8")
    return found


def _classes(
    path: Path, arrays: Mapping[str, str], given: Mapping[str, NDArray], names: NDArray | None
) -> tuple[tuple[str, ...], dict[str, NDArray[np.int64]]]:
    """The classes, and the labels of each part as positions in them. Raises ConfigError."""
    import numpy as np

    train = given["train"]
    if any((labels.dtype.kind == "U") != (train.dtype.kind == "U") for labels in given.values()):
        raise ConfigError(f"dataset.path={path}: labels are texts in one part and numbers in the other.")
    known = np.unique(train)
    if names is not None:
        if len(np.unique(names)) < len(names):
            raise ConfigError(f"dataset.path={path}: classes: a name occurs twice.")
        known = names if train.dtype.kind == "U" else np.arange(len(names))
    order = np.argsort(known)
    labels: dict[str, NDArray[np.int64]] = {}
    for part, values in given.items():
        unknown = np.setdiff1d(values, known)
        if len(unknown):
            where = "train_labels" if names is None else "classes"
            allowed = (
                f"; allowed: 0 to {len(names) - 1}" if names is not None and values.dtype.kind != "U" else ""
            )
            raise ConfigError(
                f"dataset.path={path}: {arrays[part]} has {_listed(unknown)}, which {where} does not{allowed}."
            )
        labels[part] = order[np.searchsorted(known, values, sorter=order)].astype(np.int64)
    classes = tuple(str(name) for name in (known if names is None else names))
    if len(classes) == 1:
        raise ConfigError(
            f"dataset.path={path}: all labels are {classes[0]}; two classes or more are needed."
        )
    empty = np.setdiff1d(np.arange(len(classes)), labels["train"])
    if len(empty):
        raise ConfigError(
            f"dataset.path={path}: no image of class {', '.join(classes[k] for k in empty[:SHOWN])} in"
            f" {arrays['train']}."
        )
    return classes, labels


def _listed(values: NDArray) -> str:
    more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return ", ".join(map(str, values[:SHOWN].tolist())) + more
