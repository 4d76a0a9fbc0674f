"""The prepared form of a data set: four plain .npy files and meta.json, whatever archive they came from.

    <data_dir>/<name>/train_images.npy   uint8 (N, H, W, C)
                      train_labels.npy   int64 (N,)
                      test_images.npy, test_labels.npy
                      meta.json          sizes and SHA-256 sums of the four arrays, source, what is inexact

The folder is written under another name and renamed when it is on the disk, so it is complete or not there. One that
replaces another waits under the name .<name>.new while that is moved to .<name>.old: whoever finds both, and no set, a
reader too, does the last rename in the place of the writer.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixbench import __version__
from mixbench.data.store.disk import readable_errors
from mixbench.errors import DataError
from mixbench.files import sync
from mixbench.schema.specs import ARRAYS, DataSpec
from mixbench.schema.tables import TABLE_ARRAYS, TableSpec

Arrays = Mapping[str, NDArray]


@dataclass(frozen=True)
class Decoded:
    """A data set in memory, and how far to trust it.

    `arrays` maps the four names of `specs.ARRAYS` to arrays. `published` is the source's claim to hold the
    whole published set, so that a missing image or a differing checksum is an error; `inexact` excepts the
    images at the listed positions of a split ("train", "test"), which are known to differ. `odd` are the cells
    of a table that are kept otherwise than written, with their places: what to look at if the table differs.
    """

    arrays: Arrays
    source: str
    published: bool = True
    inexact: Mapping[str, list[int]] = field(default_factory=dict)
    odd: Sequence[str] = ()


@dataclass(frozen=True)
class Meta:
    """What meta.json says; `state` is "complete", "inexact" (images differ) or "partial" (images are missing)."""

    name: str
    state: str
    note: str
    source: str
    made_by: str
    inexact: dict[str, list[int]]
    files: dict[str, dict]

    @property
    def sha256(self) -> dict[str, str]:
        """The SHA-256 of each array, by its name."""
        return {name: entry["sha256"] for name, entry in self.files.items()}


def checksum(array: NDArray) -> str:
    """SHA-256 of the array's bytes in C order (2 GB/s here: 0.09 s for CIFAR, 0.7 s for Tiny-ImageNet)."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def check_arrays(spec: DataSpec, arrays: Arrays, source: str) -> None:
    """Raises DataError unless the arrays have the shapes, types and label range of `spec`."""
    if isinstance(spec, TableSpec):
        _check_table(spec, arrays, source)
        return
    for split, most in (("train", spec.train_size), ("test", spec.test_size)):
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != spec.shape:
            raise DataError(
                f"{source}: {split} images of {spec.name} must be uint8 (N, {', '.join(map(str, spec.shape))}), "
                f"found {images.dtype} {images.shape}."
            )
        if labels.dtype != np.int64 or labels.shape != (len(images),):
            raise DataError(
                f"{source}: {split} labels of {spec.name} must be int64 ({len(images)},), "
                f"found {labels.dtype} {labels.shape}."
            )
        if not 1 <= len(images) <= most:
            raise DataError(f"{source}: {spec.name} has {most} {split} images, found {len(images)}.")
        if labels.min() < 0 or labels.max() >= spec.num_classes:
            raise DataError(
                f"{source}: {split} labels of {spec.name} must lie in 0..{spec.num_classes - 1}, "
                f"found {labels.min()}..{labels.max()}."
            )


def _check_table(spec: TableSpec, arrays: Arrays, source: str) -> None:
    inputs, labels = (arrays[key] for key in TABLE_ARRAYS)
    if inputs.dtype != np.float64 or inputs.shape != (spec.rows, spec.columns):
        raise DataError(
            f"{source}: {spec.name} has {spec.rows} rows of {spec.columns} columns, found {inputs.dtype}"
            f" {inputs.shape}."
        )
    if (
        labels.dtype != np.int64
        or labels.shape != (spec.rows,)
        or set(labels) != set(range(spec.num_classes))
    ):
        raise DataError(
            f"{source}: the labels of {spec.name} must be 0..{spec.num_classes - 1}, each of some row."
        )


def _judge(spec: DataSpec, decoded: Decoded, sums: Mapping[str, str]) -> tuple[str, str]:
    """State and note of decoded arrays; DataError if they are not the published ones and ought to be."""
    differing = [key for key, known in spec.sha256.items() if sums[key] != known]
    if isinstance(spec, TableSpec) and not decoded.published:
        if differing:
            note = f"{' and '.join(differing)} differ from the table that mixbench knows the checksum of"
            if decoded.odd:
                more = f", and {len(decoded.odd) - 1} more cells" if len(decoded.odd) > 1 else ""
                note += f"; not kept as written: {decoded.odd[0]}{more}"
            return "inexact", note
        return (
            "complete",
            "" if spec.sha256 else "not compared with the published table, whose checksum is not known",
        )
    train, test = (
        (spec.train_size, spec.test_size)
        if isinstance(spec, TableSpec)
        else (len(decoded.arrays[f"{split}_labels"]) for split in ("train", "test"))
    )
    partial = (train, test) != (spec.train_size, spec.test_size)
    excused = {f"{split}_images" for split in decoded.inexact}
    differing = [key for key, known in spec.sha256.items() if key not in excused and sums[key] != known]
    if decoded.published and partial:
        raise DataError(
            f"{decoded.source}: found {train} train and {test} test images of {spec.name}, "
            f"expected {spec.train_size} and {spec.test_size}."
        )
    if decoded.published and differing:
        key = differing[0]
        raise DataError(
            f"{decoded.source}: SHA-256 of {key} is {sums[key]}, expected {spec.sha256[key]}. "
            f"The source is damaged, or is not the published {spec.name}."
        )
    if partial:
        return "partial", (
            f"{train} of {spec.train_size} train and {test} of {spec.test_size} test images: "
            "for trying things out, results do not compare with published ones"
        )
    if decoded.inexact:
        count = sum(map(len, decoded.inexact.values()))
        return "inexact", f"{count} of {train + test} images differ slightly from the published ones"
    if differing:
        return "inexact", f"{', '.join(differing)} differ from the published data set"
    if not decoded.published and set(spec.sha256) != set(ARRAYS):
        return "complete", "not compared with the published images, whose checksum is not known here"
    return "complete", ""


def write(root: Path, spec: DataSpec, decoded: Decoded) -> Meta:
    """Puts a decoded set into `root`/<name>, replacing what is there. The caller holds the set's lock.

    Raises DataError if the arrays do not fit `spec` or the disk refuses; nothing changes in that case.
    """
    check_arrays(spec, decoded.arrays, decoded.source)
    sums = {key: checksum(decoded.arrays[key]) for key in spec.arrays}
    state, note = _judge(spec, decoded, sums)
    folder, new, old = root / spec.name, root / f".{spec.name}.new", root / f".{spec.name}.old"
    with readable_errors(root):
        for leftover in (old, new):  # in this order: where there is an old one, the new one is whole
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            new.mkdir(parents=True)
            files = {key: _save(new / f"{key}.npy", decoded.arrays[key], sums[key]) for key in spec.arrays}
            meta = Meta(
                name=spec.name,
                state=state,
                note=note,
                source=decoded.source,
                made_by=f"mixbench {__version__}",
                inexact={split: list(map(int, where)) for split, where in decoded.inexact.items()},
                files=files,
            )
            (new / "meta.json").write_text(json.dumps(asdict(meta), indent=1) + "\n")
            sync(new / "meta.json")
            sync(new)
            if folder.exists():
                folder.rename(old)
            with suppress(FileNotFoundError):  # a reader that came in between has done it, see `read_meta`
                new.rename(folder)
            sync(root)
        finally:
            if old.exists() and not folder.exists():
                old.rename(folder)
            for leftover in (old, new):
                shutil.rmtree(leftover, ignore_errors=True)
    return meta


def _save(path: Path, array: NDArray, sha256: str) -> dict:
    with path.open("wb") as file:
        np.save(file, np.ascontiguousarray(array), allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    return {
        "bytes": path.stat().st_size,
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "sha256": sha256,
    }


def read_meta(root: Path, name: str) -> Meta | None:
    """The description of the prepared set `name`, or None if it is not there; DataError if it is unreadable."""
    path = root / name / "meta.json"
    content = None
    # A writer was killed between two renames.
    if not (root / name).exists() and (root / f".{name}.old").exists():
        with suppress(OSError):  # another reader was quicker, or this one may not
            (root / f".{name}.new").rename(root / name)
    with readable_errors(root), suppress(FileNotFoundError, NotADirectoryError):
        content = path.read_text()
    try:
        return None if content is None else _meta(json.loads(content))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _damaged(path, f"unreadable ({error})", name) from error


def _meta(content: Any) -> Meta:
    """What meta.json says. Raises ValueError, TypeError or KeyError where it says less, or something else."""
    meta = Meta(**content)
    if not isinstance(meta.files, dict) or set(meta.files) not in (set(ARRAYS), set(TABLE_ARRAYS)):
        raise ValueError(f"files must be {', '.join(ARRAYS)}, or {', '.join(TABLE_ARRAYS)}")
    for name, entry in meta.files.items():
        shape, size = entry["shape"], entry["bytes"]
        np.dtype(entry["dtype"])
        if not all(type(n) is int and n >= 0 for n in (*shape, size)) or not isinstance(entry["sha256"], str):
            raise ValueError(f"{name}: shape {shape}, bytes {size}, sha256 {entry['sha256']}")
    return meta


def check_sizes(root: Path, meta: Meta) -> None:
    """Raises DataError for the first file of a prepared set that is missing or has the wrong length."""
    for key, entry in meta.files.items():
        path = root / meta.name / f"{key}.npy"
        found = path.stat().st_size if path.exists() else None
        if found != entry["bytes"]:
            what = "missing" if found is None else f"{found} bytes long, expected {entry['bytes']}"
            raise _damaged(path, what, meta.name)


def read(root: Path, meta: Meta) -> dict[str, NDArray]:
    """Memory maps of the four arrays, after their files have been compared with meta.json, headers and all.

    Raises DataError naming the file with expected and found value.
    """
    check_sizes(root, meta)
    arrays = dict[str, NDArray]()
    for key, entry in meta.files.items():
        path = root / meta.name / f"{key}.npy"
        shape, dtype = tuple(entry["shape"]), np.dtype(entry["dtype"])
        size = entry["bytes"] - math.prod(shape) * dtype.itemsize
        with readable_errors(root):
            with path.open("rb") as file:
                header = file.read(max(size, 0))
            if not _is_header(header, shape, dtype):
                raise _damaged(path, f"its header is not that of an array {dtype} {shape}", meta.name)
            # By what meta.json says, never by the header, which the checksum does not cover.
            arrays[key] = np.memmap(path, dtype, "r", size, shape)
        found = checksum(arrays[key])
        if found != entry["sha256"]:
            raise _damaged(path, f"SHA-256 of the array is {found}, expected {entry['sha256']}", meta.name)
    return arrays


def _is_header(header: bytes, shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Whether it is, to the last byte, what numpy.save writes before such an array, padded by however many spaces."""
    written = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(written, fields)
    expected, start = written.getvalue(), np.lib.format.MAGIC_LEN + 2
    return (
        header[: start - 2] == expected[: start - 2]
        and int.from_bytes(header[start - 2 : start], "little") == len(header) - start
        and header[-1:] == b"\n"
        and header[start:-1].rstrip(b" ") == expected[start:-1].rstrip(b" ")
    )


def standing(root: Path, spec: DataSpec) -> tuple[str, str]:
    """State of a set in one word (that of its Meta, or damaged, embedded, missing), and what else there is to say."""
    try:
        meta = read_meta(root, spec.name)
        if meta is not None:
            check_sizes(root, meta)
            return meta.state, meta.note
    except DataError as error:
        return "damaged", str(error)
    if spec.embedded:
        return "embedded", ""
    if isinstance(spec, TableSpec):
        files = " and ".join(part.file for part in spec.parts)
        return "missing", f"OpenML {spec.openml}{', or to import from ' if files else ''}{files}"
    return "missing", f"{sum(a.bytes for a in spec.archives) / 1e6:.0f} MB to download"


def verified(root: Path, spec: DataSpec) -> str | None:
    """In words, that a set is as it was written; None where it is not prepared. Raises DataError for a damaged one."""
    meta = read_meta(root, spec.name)
    if meta is None:
        return None
    read(root, meta)
    equal = sum(meta.files[key]["sha256"] == known for key, known in spec.sha256.items())
    return f"{meta.state}, as written; {equal} of {len(spec.sha256)} published checksums met"


def _damaged(path: Path, what: str, name: str) -> DataError:
    return DataError(
        f"{path}: {what}. The file is damaged; make it anew with `mixbench data prepare --replace {name}` "
        f"or `mixbench data import --replace {name} PATH`."
    )
