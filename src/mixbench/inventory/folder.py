"""The pictures in DIR/train/CLASS and DIR/test/CLASS: classes, sizes and checksums, without decoding any."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mixbench.errors import ConfigError, DataError
from mixbench.files import expanded
from mixbench.inventory import remembered
from mixbench.inventory.index import Index

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
# Of Pillow's modes; those of more than 8 bits for each channel are not here.
CHANNELS = {"1": 1, "L": 1, "LA": 1, "P": 3, "PA": 3, "RGB": 3, "RGBA": 3, "RGBX": 3, "CMYK": 3, "YCbCr": 3}
LAYOUT = f"DIR/train/CLASS/*.png and DIR/test/CLASS/*.png ({', '.join(s[1:] for s in SUFFIXES)})"
THREADS = 16  # they wait for the disk most of the time
AT_ONCE = 4096  # files, between two looks at the progress
SHOWN = 5  # of many bad files, in a message


class Picture(NamedTuple):
    """One picture: its file below the folder, with slashes; SHA-256 of the file; pixels; 1 channel if grey, else 3.

    Of one in a tar, `file` is TAR/MEMBER, and `offset` and `size` say where its bytes lie in the tar.
    """

    file: str
    label: int
    sha256: str
    height: int
    width: int
    channels: int
    offset: int = 0
    size: int = 0


@dataclass(frozen=True)
class PictureFolder:
    """The pictures below `path`, in a fixed order; `test` is empty where the folder has no test part.

    `left_out` are the files that are no pictures by their names. `content` is a SHA-256 of the names and bytes of all
    pictures; it depends neither on the place nor on times.
    """

    path: Path
    classes: tuple[str, ...]
    train: tuple[Picture, ...]
    test: tuple[Picture, ...]
    left_out: tuple[str, ...]
    content: str

    def shape(self, size: int | None, grey: bool | None) -> tuple[int, int, int]:
        """Height, width and channels of the pictures once they are decoded.

        They are squares of `size`, or as they are; one channel if `grey`, or if `grey` is None and all are. Raises
        ConfigError where they would not be of one size.
        """
        pictures = [*self.train, *self.test]
        if grey is None:
            grey = all(p.channels == 1 for p in pictures)
        channels = 1 if grey else 3
        if size is not None:
            return size, size, channels
        sizes: dict[tuple[int, int], str] = {}
        for p in pictures:
            sizes.setdefault((p.height, p.width), p.file)
        if len(sizes) > 1:
            examples = ", ".join(f"{file} has {h}x{w}" for (h, w), file in [*sizes.items()][:3])
            common = Counter(min(p.height, p.width) for p in pictures).most_common(1)[0][0]
            raise ConfigError(
                f"dataset.size=null: the pictures in {self.path} have {len(sizes)} different sizes ({examples}).\n"
                f"dataset.size={common}, for example, makes all of them {common}x{common}: the shorter side is"
                " resized to it and the centre is cut out."
            )
        return *next(iter(sizes)), channels


def look(
    path: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    test: str = "test",
    only: Sequence[str] = (),
) -> PictureFolder:
    """What is in the folder `path`. Every picture is read once, and only its header is decoded.

    `test` is the name of the folder of the test part; `only` are the classes that are taken, () for all.
    Raises ConfigError for a folder that is not laid out as `LAYOUT`, DataError for pictures that cannot be read.
    """
    if not path:
        raise ConfigError(f"dataset.path: is not given; dataset=folder reads {LAYOUT} in dataset.path=DIR.")
    root = expanded(path).absolute()
    return remembered(("folder", root, test, *only), lambda: _looked(root, data_dir, test, only))


def _looked(
    root: Path, data_dir: str | os.PathLike[str] | None, test: str, only: Sequence[str]
) -> PictureFolder:
    if not root.is_dir():
        what = "is a file; dataset=arrays takes .npz files" if root.is_file() else "no such folder"
        raise ConfigError(f"dataset.path={root}: {what}. dataset=folder reads {LAYOUT}.")
    try:
        files, left_out, classes = _listed(root, test, only)
        facts = _facts(root, files, data_dir)
    except OSError as error:
        raise DataError(f"{error.filename or root}: {error.strerror or error}.") from None
    positions = {name: k for k, name in enumerate(classes)}
    parts: dict[str, list[Picture]] = {"train": [], "test": []}
    digest = hashlib.sha256()
    for key in sorted(files):
        part, name = key[:2]
        sha256, height, width, channels = facts[key]
        parts[part].append(Picture(files[key][0], positions[name], sha256, height, width, channels))
        digest.update(f"{'/'.join(filter(None, key))}\0{sha256}\n".encode("utf-8", "surrogateescape"))
    train, held_out = (tuple(parts[part]) for part in ("train", "test"))
    return PictureFolder(root, tuple(classes), train, held_out, tuple(sorted(left_out)), digest.hexdigest())


# --- names --------------------------------------------------------------------------------------

# Part, class, folder below the class, name: in the order of torchvision's ImageFolder. The names are in one Unicode
# form, which differs between file systems.
Key = tuple[str, str, str, str]
Files = dict[Key, tuple[str, os.stat_result]]


def _listed(root: Path, test: str, only: Sequence[str]) -> tuple[Files, list[str], list[str]]:
    """The pictures by their keys, with files as they are called on the disk; other files; the classes' names."""
    found = sorted(e.name for e in os.scandir(root) if e.is_dir() and not e.name.startswith("."))
    if "train" not in found:
        there = f"it has {', '.join(found[:SHOWN])}" if found else "it has no folders"
        raise ConfigError(f"dataset.path={root}: has no folder train ({there}). The layout is {LAYOUT}.")
    files: Files = {}
    left_out: list[str] = []
    counts: dict[str, Counter[str]] = {}
    for part, below_root in (("train", "train"), ("test", test)):
        classes = Counter[str]()
        for entry in os.scandir(root / below_root) if below_root in found else ():
            if entry.name.startswith("."):
                continue
            if not entry.is_dir():
                left_out.append(f"{below_root}/{entry.name}")
                continue
            name = unicodedata.normalize("NFC", entry.name)
            if only and name not in only:
                continue
            classes[name] += 0
            for folder, file, status in _walk(entry.path, "", ()):
                below = "/".join(filter(None, (below_root, entry.name, folder, file)))
                if Path(file).suffix.lower() not in SUFFIXES:
                    left_out.append(below)
                    continue
                classes[name] += 1
                key = part, name, unicodedata.normalize("NFC", folder), unicodedata.normalize("NFC", file)
                if key in files:
                    raise DataError(
                        f"{root}: {files[key][0]} and {below} have the same name in two Unicode forms."
                    )
                files[key] = below, status
        counts[part] = classes
    if counts["train"] or not only:  # else the caller, who asks for classes, says which are missing
        _check_classes(root, counts, test in found)
    return files, left_out, sorted(counts["train"])


def _walk(
    path: str, below: str, above: tuple[tuple[int, int], ...]
) -> Iterator[tuple[str, str, os.stat_result]]:
    """Folder below the first `path`, name and status of all files that are not hidden; links are followed."""
    status = os.stat(path)
    here = status.st_dev, status.st_ino
    if here in above:
        raise DataError(f"{path}: is a link to a folder that it lies in.")
    for entry in os.scandir(path):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry.path, f"{below}/{entry.name}".lstrip("/"), (*above, here))
            continue
        status = entry.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{entry.path}: is no regular file.")
        yield below, entry.name, status


def _check_classes(root: Path, counts: dict[str, Counter[str]], has_test: bool) -> None:
    train, test = counts["train"], counts["test"]
    empty = sorted(name for name, count in train.items() if not count)
    if not train or len(empty) == len(train):
        raise ConfigError(f"dataset.path={root}: no pictures in train. The layout is {LAYOUT}.")
    if empty:
        raise ConfigError(
            f"dataset.path={root}: no pictures of class {', '.join(empty[:SHOWN])} in train; add some, or remove the"
            " folder."
        )
    if len(train) == 1:
        raise ConfigError(
            f"dataset.path={root}: there is only the class {next(iter(train))} in train; two or more are needed."
        )
    unknown = sorted(name for name, count in test.items() if count and name not in train)
    if unknown:
        raise ConfigError(
            f"dataset.path={root}: no pictures of class {', '.join(unknown[:SHOWN])} in train, but in test."
        )
    if has_test and not test.total():
        raise ConfigError(f"dataset.path={root}: no pictures in test; add some, or remove the folder.")


# --- headers and checksums ----------------------------------------------------------------------


def _facts(root: Path, files: Files, data_dir: str | os.PathLike[str] | None) -> dict[Key, list[Any]]:
    """SHA-256, height, width and channels of each file, from the index where that knows it. Raises DataError."""
    from tqdm import tqdm

    index = Index(root, data_dir)
    facts = {key: known for key, (file, status) in files.items() if (known := index.known(file, status))}
    new = [key for key in files if key not in facts]
    bad: list[str] = []
    bar = tqdm(
        total=len(new), desc=f"looking at {root.name}", unit=" pictures", delay=1, leave=False, disable=None
    )
    with bar, ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(new), AT_ONCE):
            keys, read_at = new[start : start + AT_ONCE], time.time_ns()
            for key, found in zip(
                keys, pool.map(lambda key: _header(root / files[key][0]), keys), strict=True
            ):
                if isinstance(found, str):
                    bad.append(f"{files[key][0]}: {found}")
                else:
                    facts[key] = found
                    index.note(*files[key], read_at, found)
            bar.update(len(keys))
    index.save()
    if bad:
        raise DataError(bad_pictures(root, sorted(bad)))
    return facts


def _header(path: Path) -> list[Any] | str:
    """SHA-256, height, width and channels of a picture; or what is wrong with it."""
    try:
        return header(path.read_bytes())
    except OSError as error:
        return error.strerror or str(error)


def header(data: bytes) -> list[Any] | str:
    """The same of the bytes of a picture."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            mode, (width, height) = picture.mode, picture.size
    except UnidentifiedImageError:
        return "is empty" if not data else f"is neither {', '.join(FORMATS[:-1])} nor {FORMATS[-1]}"
    except OSError as error:
        return error.strerror or str(error)
    except Exception as error:  # Pillow raises whatever its decoders meet
        return f"cannot be read ({type(error).__name__}: {error})"
    if mode not in CHANNELS:
        return (
            f"has pixels of mode {mode}; pictures have 8 bits for each channel, others go into an .npz file"
        )
    return [hashlib.sha256(data).hexdigest(), height, width, CHANNELS[mode]]


def bad_pictures(root: Path, bad: Sequence[str]) -> str:
    """What to say of pictures that are named with what is wrong with them."""
    what = "1 picture" if len(bad) == 1 else f"{len(bad)} pictures"
    more = f"\n  and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    lines = "".join(f"\n  {line}" for line in bad[:SHOWN])
    return f"{root}: {what} cannot be read:{lines}{more}\nMend or remove them; nothing is trained on the others alone."
