"""Pictures in WebDataset shards, DIR/train-000000.tar, ...: where each lies in which tar, found once and remembered.

A sample is KEY.jpg (or another picture) and KEY.cls, its label as a decimal number, one after the other in the tar.
webdataset's own iteration cannot go on in the middle of an epoch: what comes next depends on a shuffle buffer, and on
how shards are dealt to how many workers. With the place of every picture known, any order can be read from any step on.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mixbench.errors import ConfigError, DataError
from mixbench.files import expanded
from mixbench.inventory import remembered
from mixbench.inventory.folder import SHOWN, SUFFIXES, Picture, PictureFolder, bad_pictures, header
from mixbench.inventory.index import Index

LAYOUT = (
    "DIR/train-000000.tar, ... and DIR/test-000000.tar (or val-), with KEY.jpg and KEY.cls for each picture"
)
NAME = re.compile(r"(train|test|val)-(\d+)\.tar")
BLOCK = 512  # bytes; a tar ends with two blocks of zeros

Sample = list[Any]  # member, label, offset, size, SHA-256, height, width, channels


def look(path: str, data_dir: str | os.PathLike[str] | None = None) -> PictureFolder:
    """What is in the shards in the folder `path`. Every shard is read once.

    Raises ConfigError for a folder that is not laid out as `LAYOUT`, DataError for shards that are missing or damaged,
    and for samples that cannot be read.
    """
    if not path:
        raise ConfigError(f"dataset.path: is not given; dataset=shards reads {LAYOUT}.")
    root = expanded(path).absolute()
    return remembered(("shards", root), lambda: _looked(root, data_dir))


def _looked(root: Path, data_dir: str | os.PathLike[str] | None) -> PictureFolder:
    if not root.is_dir():
        raise ConfigError(f"dataset.path={root}: no such folder. dataset=shards reads {LAYOUT}.")
    shards, left_out = _listed(root)
    index, bad = Index(root, data_dir), list[str]()
    parts: dict[str, list[Picture]] = {"train": [], "test": []}
    digest = hashlib.sha256()
    for part, name in shards:
        try:
            status, read_at = (root / name).stat(), time.time_ns()
            known = index.known(name, status)
            samples, wrong = (known[0], []) if known else _samples(root / name)
        except OSError as error:
            raise DataError(f"{root / name}: {error.strerror or error}.") from None
        bad += [f"{name}/{line}" for line in wrong]
        if not wrong:
            index.note(name, status, read_at, [samples])
        for member, label, offset, size, sha256, height, width, channels in samples:
            parts[part].append(
                Picture(f"{name}/{member}", label, sha256, height, width, channels, offset, size)
            )
            digest.update(f"{part}/{label}/{member}\0{sha256}\n".encode("utf-8", "surrogateescape"))
    index.save()
    if bad:
        raise DataError(bad_pictures(root, bad))
    train, test = (tuple(parts[part]) for part in ("train", "test"))
    return PictureFolder(root, _classes(root, train, test), train, test, tuple(left_out), digest.hexdigest())


def _listed(root: Path) -> tuple[list[tuple[str, str]], list[str]]:
    """Part and name of the shards, in their order; other files."""
    numbers: dict[str, dict[int, str]] = {"train": {}, "test": {}, "val": {}}
    left_out = []
    for name in sorted(entry.name for entry in os.scandir(root) if not entry.name.startswith(".")):
        if match := NAME.fullmatch(name):
            numbers[match[1]][int(match[2])] = name
        else:
            left_out.append(name)
    if not numbers["train"]:
        there = f"it has {', '.join(left_out[:SHOWN])}" if left_out else "it is empty"
        raise ConfigError(
            f"dataset.path={root}: has no shard train-000000.tar ({there}). The layout is {LAYOUT}."
        )
    if numbers["test"] and numbers["val"]:
        raise ConfigError(
            f"dataset.path={root}: has shards called test and others called val; one is to be the test part."
        )
    for part, found in numbers.items():
        if gaps := sorted(set(range(max(found, default=-1) + 1)) - set(found)):
            width = len(NAME.fullmatch(next(iter(found.values())))[2])  # type: ignore[index]  # they all match
            names = ", ".join(f"{part}-{k:0{width}}.tar" for k in gaps[:SHOWN])
            more = f" and {len(gaps) - SHOWN} more" if len(gaps) > SHOWN else ""
            raise DataError(
                f"{root}: {names}{more}: missing; there is {found[max(found)]}. Nothing is trained on the rest."
            )
    held_out = numbers["test"] or numbers["val"]
    shards = [("train", name) for _, name in sorted(numbers["train"].items())]
    return shards + [("test", name) for _, name in sorted(held_out.items())], left_out


def _samples(path: Path) -> tuple[list[Sample], list[str]]:
    """The samples of a shard, and what is wrong with others. Raises DataError for a tar that is damaged."""
    labels: dict[str, int] = {}
    pictures: dict[str, list[Any]] = {}
    wrong = []
    with path.open("rb") as file:
        for member in _members(path, file):
            key, suffix = _split(member.name)
            file.seek(member.offset_data)
            data = file.read(member.size)
            if suffix == ".cls":
                text = data.decode("ascii", "replace").strip()
                if text.isdecimal() and len(text) < 10:
                    labels[key] = int(text)
                else:
                    wrong.append(f"{member.name}: is {text[:20]!r}, no label in decimal digits")
            elif suffix in SUFFIXES:
                if key in pictures:
                    wrong.append(f"{member.name}: is the second picture of its key")
                elif isinstance(facts := header(data), str):
                    wrong.append(f"{member.name}: {facts}")
                else:
                    pictures[key] = [member.name, None, member.offset_data, member.size, *facts]
    wrong += [f"{sample[0]}: has no label {key}.cls" for key, sample in pictures.items() if key not in labels]
    wrong += [f"{key}.cls: has no picture" for key in labels if key not in pictures] if not wrong else []
    for key, sample in pictures.items():
        sample[1] = labels.get(key)
    return [*pictures.values()], wrong


def _members(path: Path, file: Any) -> Iterator[tarfile.TarInfo]:
    """The files in a tar that is not compressed. Raises DataError where it is damaged, or was cut off."""
    end = os.fstat(file.fileno()).st_size
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.offset_data + member.size > end:
                    raise tarfile.ReadError("unexpected end of data")
                if member.isfile():
                    yield member
            last = tar.offset
    except tarfile.TarError as error:
        raise DataError(f"{path}: is damaged, or no tar ({error}). Get this shard again.") from None
    file.seek(last)  # where the reader found no member any more
    if file.read(BLOCK) != bytes(BLOCK):
        raise DataError(f"{path}: was cut off: it does not end as a tar does. Get this shard again.")


def _split(name: str) -> tuple[str, str]:
    """Key and suffix of a member: as webdataset has it, all from the first dot of the last name on is suffix."""
    last = PurePosixPath(name).name
    stem, dot, suffix = last.partition(".")
    return name.removesuffix(last) + stem, (dot + suffix).lower()


def _classes(root: Path, train: tuple[Picture, ...], test: tuple[Picture, ...]) -> tuple[str, ...]:
    """The names of the labels, which are their numbers. Raises DataError where they are not 0, 1, ..."""
    seen = sorted({picture.label for picture in train})
    if seen != [*range(len(seen))] or len(seen) < 2:
        raise DataError(
            f"{root}: the labels of the training shards are not 0, 1, ...: {len(seen)} from {seen[:1]} on."
        )
    if unknown := sorted({picture.label for picture in test} - set(seen)):
        raise DataError(f"{root}: the test shards have the label {unknown[0]}, the training shards do not.")
    return tuple(map(str, seen))
