"""Pictures that were decoded once: their pixels as plain arrays, or only the sums over them.

    <data_dir>/pictures/KEY.npy, KEY.json     uint8 (N, H, W, C), and the SHA-256 of the array
                        KEY.sums.npz          count, pixels, squares of statistics.Sums

KEY names the files by their checksums, so what is here never grows old, and may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mixbench.data.pictures import Pictures
from mixbench.data.statistics import Sums, summed
from mixbench.data.store.cache import checksum
from mixbench.data.store.disk import locked, readable_errors
from mixbench.data.stream import consecutive, read_ahead
from mixbench.errors import DataError
from mixbench.files import write_atomic

log = logging.getLogger("mixbench")
Made = TypeVar("Made")


def pixels(pictures: Pictures, root: Path, readers: int) -> NDArray[np.uint8]:
    """All pictures, decoded: a memory map of a file below `root` (data_dir), made first if it is not there.

    They are only in memory where nothing can be written. Raises DataError naming a picture that cannot be decoded.
    """
    folder = root / "pictures"

    def make() -> NDArray[np.uint8]:
        found = _read_pixels(folder, pictures)
        if found is None:
            _write_pixels(folder, pictures, readers)
            found = _read_pixels(folder, pictures)
            assert found is not None
        return found

    def make_in_memory() -> NDArray[np.uint8]:
        return np.concatenate(list(_decoded(pictures, readers)))

    return _kept(folder, pictures, make, make_in_memory)


def sums(pictures: Pictures, root: Path, readers: int) -> Sums:
    """The sums over all pictures, which are read through for it unless that was done before.

    Raises DataError naming a picture that cannot be decoded.
    """
    folder = root / "pictures"

    def make() -> Sums:
        found = _read_sums(folder, pictures)
        if found is None:
            found = summed(_decoded(pictures, readers))
            data = io.BytesIO()
            np.savez(data, **vars(found))
            write_atomic(folder / f"{pictures.key}.sums.npz", data.getvalue())
        return found

    return _kept(folder, pictures, make, lambda: summed(_decoded(pictures, readers)))


def _kept(folder: Path, pictures: Pictures, make: Callable[[], Made], instead: Callable[[], Made]) -> Made:
    try:
        with readable_errors(folder), locked(folder, pictures.key):
            return make()
    except DataError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        log.warning(f"note     the pictures are decoded at every start: {error}")
        return instead()


def _decoded(pictures: Pictures, readers: int) -> Iterator[NDArray[np.uint8]]:
    """All pictures in order, some at a time, with a progress bar."""
    with tqdm(
        total=len(pictures), desc="decoding", unit=" pictures", delay=1, leave=False, disable=None
    ) as bar:
        for part in read_ahead(pictures, consecutive(len(pictures), pictures.shape), readers):
            yield part.numpy()
            bar.update(len(part))


def _read_pixels(folder: Path, pictures: Pictures) -> NDArray[np.uint8] | None:
    """The pixels if they are there as they were written."""
    try:
        expected = json.loads((folder / f"{pictures.key}.json").read_text())["sha256"]
        found = np.load(folder / f"{pictures.key}.npy", mmap_mode="r", allow_pickle=False)
    except Exception:  # not there, or damaged in whatever way: it is made anew
        return None
    whole = found.shape == pictures.shape and found.dtype == np.uint8 and checksum(found) == expected
    return found if whole else None


def _write_pixels(folder: Path, pictures: Pictures, readers: int) -> None:
    """The caller holds the lock."""
    path, new = folder / f"{pictures.key}.npy", folder / f".{pictures.key}.new"
    digest = hashlib.sha256()
    try:
        with new.open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": pictures.shape}
            np.lib.format.write_array_header_1_0(file, header)
            for part in _decoded(pictures, readers):
                digest.update(part.data)
                file.write(part.data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
    write_atomic(path.with_suffix(".json"), json.dumps({"sha256": digest.hexdigest()}).encode())


def _read_sums(folder: Path, pictures: Pictures) -> Sums | None:
    try:
        with np.load(folder / f"{pictures.key}.sums.npz", allow_pickle=False) as found:
            sums = Sums(int(found["count"]), found["pixels"], found["squares"])
    except Exception:  # as above
        return None
    whole = sums.count == len(pictures) and sums.pixels.shape == pictures.image_shape
    return sums if whole and sums.squares.shape == pictures.image_shape[2:] else None
