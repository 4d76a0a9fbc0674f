"""The prepared form: complete or absent, and any later damage is named."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import official_archives as archives
import pytest

from mixbench.data.store import cache
from mixbench.data.store.cache import Decoded
from mixbench.data.store.prepare import prepare
from mixbench.errors import DataError
from mixbench.schema.specs import ARRAYS, SPECS, DataSpec

ARRAYS_IN = archives.random_arrays(SPECS["kmnist"])


def spec_of(arrays: archives.Arrays, **changes: object) -> DataSpec:
    sizes = {f"{split}_size": len(arrays[f"{split}_labels"]) for split in ("train", "test")}
    return dataclasses.replace(SPECS["kmnist"], **(sizes | changes))


def written(root: Path) -> cache.Meta:
    return cache.write(root, spec_of(ARRAYS_IN), Decoded(ARRAYS_IN, "a test"))


def test_round_trip_by_memory_map(tmp_path: Path) -> None:
    """Oracle: the arrays that went in, and hashlib over their bytes."""
    written(tmp_path)
    meta = cache.read_meta(tmp_path, "kmnist")
    arrays = cache.read(tmp_path, meta)
    for key in ARRAYS:
        assert isinstance(arrays[key], np.memmap)
        assert not arrays[key].flags.writeable
        np.testing.assert_array_equal(arrays[key], ARRAYS_IN[key])
        assert meta.files[key]["sha256"] == hashlib.sha256(ARRAYS_IN[key].tobytes()).hexdigest()
    assert (meta.state, meta.note) == ("complete", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kmnist"]


def test_checksum_ignores_the_layout_in_memory() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert cache.checksum(image.T) == hashlib.sha256(image.T.tobytes()).hexdigest()


def test_absent_set_has_no_meta(tmp_path: Path) -> None:
    assert cache.read_meta(tmp_path, "kmnist") is None


@pytest.mark.fault("data")
@pytest.mark.parametrize("key", ARRAYS)
def test_one_flipped_bit_is_found(tmp_path: Path, key: str) -> None:
    """The message names the file, the expected and the found checksum, and the way out."""
    meta = written(tmp_path)
    path = tmp_path / "kmnist" / f"{key}.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 4
    path.write_bytes(content)
    found = hashlib.sha256(content[128:]).hexdigest()
    with pytest.raises(DataError) as caught:
        cache.read(tmp_path, meta)
    for part in (str(path), found, meta.files[key]["sha256"], "mixbench data prepare --replace kmnist"):
        assert part in str(caught.value)


@pytest.mark.fault("data")
def test_truncation_is_found_without_reading(tmp_path: Path) -> None:
    meta = written(tmp_path)
    path = tmp_path / "kmnist/test_images.npy"
    size = path.stat().st_size
    os.truncate(path, size - 1)
    with pytest.raises(DataError, match=rf"{path}: {size - 1} bytes long, expected {size}"):
        cache.check_sizes(tmp_path, meta)


@pytest.mark.fault("data")
def test_missing_file_is_named(tmp_path: Path) -> None:
    meta = written(tmp_path)
    (tmp_path / "kmnist/train_labels.npy").unlink()
    with pytest.raises(DataError, match=r"train_labels\.npy: missing"):
        cache.read(tmp_path, meta)


@pytest.mark.fault("data")
def test_every_flipped_bit_of_a_header_is_named(tmp_path: Path) -> None:
    """Brute force over the bits that no checksum of the array covers, with two types and numbers of dimensions."""
    meta = written(tmp_path)
    for key in ("test_images", "test_labels"):
        path = tmp_path / "kmnist" / f"{key}.npy"
        whole = path.read_bytes()
        size = len(whole) - ARRAYS_IN[key].nbytes
        assert size > 60
        for place in range(8 * size):
            content = bytearray(whole)
            content[place // 8] ^= 1 << place % 8
            path.write_bytes(content)
            with pytest.raises(DataError, match=rf"{key}\.npy: its header is not that of an array"):
                cache.read(tmp_path, meta)
        path.write_bytes(whole)
    cache.read(tmp_path, meta)


def test_a_header_with_other_padding_is_read(tmp_path: Path) -> None:
    """Versions of NumPy pad headers differently; the file is whole all the same. Oracle: the array that went in."""
    meta = written(tmp_path)
    path = tmp_path / "kmnist" / "test_labels.npy"
    whole = path.read_bytes()
    text = whole[10:].partition(b"\n")[0].rstrip(b" ") + b" " * 7 + b"\n"
    data = whole[-ARRAYS_IN["test_labels"].nbytes :]
    path.write_bytes(whole[:8] + len(text).to_bytes(2, "little") + text + data)
    meta.files["test_labels"]["bytes"] = path.stat().st_size
    np.testing.assert_array_equal(np.load(path), ARRAYS_IN["test_labels"])
    np.testing.assert_array_equal(cache.read(tmp_path, meta)["test_labels"], ARRAYS_IN["test_labels"])


@pytest.mark.fault("data")
def test_damaged_header_is_named(tmp_path: Path) -> None:
    meta = written(tmp_path)
    path = tmp_path / "kmnist/train_images.npy"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(DataError, match=rf"{path}: its header is not that of an array"):
        cache.read(tmp_path, meta)


@pytest.mark.fault("data")
@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "kmnist"}'])
def test_damaged_meta_is_named(tmp_path: Path, content: str) -> None:
    written(tmp_path)
    path = tmp_path / "kmnist/meta.json"
    path.write_text(content)
    with pytest.raises(DataError, match=rf"{path}: unreadable"):
        cache.read_meta(tmp_path, "kmnist")


@pytest.mark.fault("data")
@pytest.mark.parametrize("key", ["files", "sha256", "bytes", "shape", "dtype"])
def test_meta_that_says_less_is_named(tmp_path: Path, key: str) -> None:
    """Each thing that reading goes by, taken away: unreadable, and no traceback later."""
    written(tmp_path)
    path = tmp_path / "kmnist/meta.json"
    content = json.loads(path.read_text())
    if key == "files":
        content["files"] = {}
    else:
        content["files"]["train_images"].pop(key)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"{path}: unreadable"):
        cache.read_meta(tmp_path, "kmnist")


def test_damaged_meta_can_be_replaced(tmp_path: Path) -> None:
    """Oracle: the file as it was before the damage."""
    prepare(SPECS["digits"], tmp_path)
    before = cache.read_meta(tmp_path, "digits")
    (tmp_path / "digits/meta.json").write_text("{")
    prepare(SPECS["digits"], tmp_path, replace=True)
    assert cache.read_meta(tmp_path, "digits") == before
    cache.read(tmp_path, before)  # raises where an array is not what meta.json says


@pytest.mark.fault("data")
@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("train_images", lambda a: a.astype(np.float32), r"must be uint8 \(N, 28, 28, 1\), found float32"),
        ("train_images", lambda a: a[:, :27], r"found uint8 \(30, 27, 28, 1\)"),
        ("test_images", lambda a: a[:-1], r"must be int64 \(19,\), found int64 \(20,\)"),
        ("test_labels", lambda a: a.astype(np.int32), "found int32"),
        ("train_labels", lambda a: a + 1, r"must lie in 0\.\.9, found 1\.\.10"),
        ("train_labels", lambda a: a - 1, r"must lie in 0\.\.9, found -1\.\.8"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, key: str, change: object, message: str) -> None:
    arrays = ARRAYS_IN | {key: change(ARRAYS_IN[key])}
    with pytest.raises(DataError, match=message):
        cache.write(tmp_path, spec_of(ARRAYS_IN), Decoded(arrays, "a test"))
    assert not (tmp_path / "kmnist").exists()


def test_more_images_than_published_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 29 train images, found 30"):
        cache.write(tmp_path, spec_of(ARRAYS_IN, train_size=29), Decoded(ARRAYS_IN, "a test"))


def known(*keys: str) -> dict[str, str]:
    return {key: cache.checksum(ARRAYS_IN[key]) for key in keys}


@pytest.mark.parametrize(
    ("spec", "decoded", "state", "note"),
    [
        (spec_of(ARRAYS_IN, sha256=known(*ARRAYS)), Decoded(ARRAYS_IN, ""), "complete", ""),
        (spec_of(ARRAYS_IN, sha256=known(*ARRAYS)), Decoded(ARRAYS_IN, "", published=False), "complete", ""),
        (spec_of(ARRAYS_IN), Decoded(ARRAYS_IN, "", published=False), "complete", "not compared"),
        (
            spec_of(ARRAYS_IN, sha256={"test_images": "0"}),
            Decoded(ARRAYS_IN, "", published=False),
            "inexact",
            "test_images differ",
        ),
        (
            spec_of(ARRAYS_IN, sha256=known("test_labels") | {"train_images": "0"}),
            Decoded(ARRAYS_IN, "", inexact={"train": [3, 5]}),
            "inexact",
            "2 of 50 images",
        ),
        (
            spec_of(ARRAYS_IN, train_size=60_000),
            Decoded(ARRAYS_IN, "", published=False),
            "partial",
            "30 of 60000 train and 20 of 20 test",
        ),
    ],
)
def test_state_says_how_far_to_trust(
    tmp_path: Path, spec: DataSpec, decoded: Decoded, state: str, note: str
) -> None:
    meta = cache.write(tmp_path, spec, decoded)
    assert meta.state == state
    assert note in meta.note
    assert bool(note) == bool(meta.note)


def test_published_source_must_have_the_published_checksum(tmp_path: Path) -> None:
    spec = spec_of(ARRAYS_IN, sha256=known("train_images") | {"test_labels": "0" * 64})
    with pytest.raises(
        DataError, match=rf"test_labels is {known('test_labels')['test_labels']}, expected 0+"
    ):
        cache.write(tmp_path, spec, Decoded(ARRAYS_IN, "an archive"))


def test_labels_beside_inexact_images_must_still_be_right(tmp_path: Path) -> None:
    spec = spec_of(ARRAYS_IN, sha256={"train_labels": "0" * 64})
    with pytest.raises(DataError, match="train_labels"):
        cache.write(tmp_path, spec, Decoded(ARRAYS_IN, "", inexact={"train": [0]}))


@pytest.mark.fault("data")
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "No space left on device. Free some space"),
        (errno.EROFS, "read-only: make it writable"),
    ],
)
def test_disk_errors_are_readable_and_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    written(tmp_path)

    def refuse(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DataError, match=words) as caught:
        cache.write(
            tmp_path, spec_of(ARRAYS_IN), Decoded(archives.random_arrays(SPECS["kmnist"], seed=9), "")
        )
    assert "MIXBENCH_DATA" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["kmnist"]
    arrays = cache.read(tmp_path, cache.read_meta(tmp_path, "kmnist"))
    np.testing.assert_array_equal(arrays["train_images"], ARRAYS_IN["train_images"])


def killed_at(step: int, root: Path, arrays: archives.Arrays) -> bool:
    """Rewrites the set in a child process that kills itself before its `step`-th change of the disk.

    False if it got to the end before.
    """
    child = os.fork()
    if child == 0:
        changes = iter(range(1, step))

        def count(event: str, arguments: tuple) -> None:
            writing = event == "open" and isinstance(arguments[1], str) and arguments[1] not in ("r", "rb")
            if (writing or event in ("os.rename", "os.mkdir", "os.rmdir", "os.remove")) and not next(
                changes, 0
            ):
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(count)
            cache.write(root, spec_of(ARRAYS_IN), Decoded(arrays, "a test"))
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.fault("data")
def test_killed_writer_leaves_a_whole_set(tmp_path: Path) -> None:
    """SIGKILL before every single change of the disk: what is there is the old set or the new one."""
    new = archives.random_arrays(SPECS["kmnist"], seed=9)
    contents = {cache.checksum(arrays["train_images"]): arrays for arrays in (ARRAYS_IN, new)}
    step, seen = 1, []
    written(tmp_path)
    while killed_at(step, tmp_path, new):
        meta = cache.read_meta(tmp_path, "kmnist")
        assert meta is not None
        expected = contents[meta.files["train_images"]["sha256"]]
        seen.append("new" if expected is new else "old")
        for key, array in cache.read(tmp_path, meta).items():
            np.testing.assert_array_equal(array, expected[key])
        written(tmp_path)
        step += 1
    assert {"old", "new"} == set(seen)
    assert len(seen) > 10


def test_meta_lists_the_inexact_images(tmp_path: Path) -> None:
    decoded = Decoded(ARRAYS_IN, "", inexact={"train": [3, 5], "test": [1]})
    cache.write(tmp_path, spec_of(ARRAYS_IN), decoded)
    content = json.loads((tmp_path / "kmnist/meta.json").read_text())
    assert content["inexact"] == {"train": [3, 5], "test": [1]}
