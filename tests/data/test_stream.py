"""Streamed images: bit for bit the batches of the set that lives on the device."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from own_data import CLASSES, folder, image, save
from PIL import Image
from torchvision.transforms import functional

from mixbench.data import stream
from mixbench.data.crop import generator, random_box
from mixbench.data.images import ImageSet
from mixbench.data.order import epoch_order
from mixbench.data.own import load_folder
from mixbench.data.pictures import Pictures
from mixbench.data.stream import Piece, StreamedImages, consecutive, read_ahead
from mixbench.errors import DataError
from mixbench.schema.own import Folder

HOW = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3], "flip": True}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    place = tmp_path_factory.mktemp("pictures")
    option = Folder(base_augment=True, crop_padding=0, flip=False, path=str(folder(place / "set")))
    inputs = load_folder(option, place / "data").train.inputs
    assert isinstance(inputs, Pictures)
    return inputs


def floats() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(24, 6, 9, 3)).astype(np.float32) * 1e3


def pair(images, **how) -> tuple[ImageSet, StreamedImages]:
    """The same examples on the device and streamed."""
    labels = np.arange(len(images)) % 5
    how = HOW | how
    readers = how.pop("readers", 0)
    return ImageSet(np.asarray(images), labels, **how), StreamedImages(images, labels, **how, readers=readers)


def assert_equal(one: Iterator, two: Iterator) -> None:
    for (x, y), (streamed_x, streamed_y) in zip(one, two, strict=True):
        assert torch.equal(x, streamed_x)
        assert x.stride() == streamed_x.stride()
        assert torch.equal(y, streamed_y)


def batches(images: ImageSet | StreamedImages, order, first: int = 0, drawn: bool = True) -> Iterator:
    for number, fed in enumerate(images.feed(order, first), start=first):
        yield images.batch(fed, torch.Generator().manual_seed(number) if drawn else None)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["pictures", "uint8", "float32"]),
    padding=st.integers(0, 3),
    batch_size=st.integers(1, 24),
    first=st.integers(0, 4),
    channels_last=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_batches_are_those_of_the_resident_set(
    pictures: Pictures,
    kind: str,
    padding: int,
    batch_size: int,
    first: int,
    channels_last: bool,
    dtype: torch.dtype,
) -> None:
    """Oracle: ImageSet, whose batches are compared with torchvision's elsewhere; from any step on."""
    images = {"pictures": pictures, "uint8": np.asarray(pictures), "float32": floats()}[kind]
    sets = pair(images, crop_padding=padding, channels_last=channels_last, dtype=dtype)
    order = epoch_order(24, batch_size, 0, 0, drop_last=False)
    for drawn in (True, False):
        assert_equal(*(batches(one, order, first, drawn) for one in sets))
    assert_equal(*(one.eval_batches(batch_size) for one in sets))
    assert torch.equal(*(one.mean_input() for one in sets))
    assert len(sets[0]) == len(sets[1])


@pytest.mark.parametrize("readers", [1, 2])
def test_readers_change_nothing(pictures: Pictures, readers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: this process reads; evaluation in pieces smaller than a batch."""
    monkeypatch.setattr(stream, "CHUNK", 3 * 240)
    _, alone = pair(pictures, crop_padding=1)
    _, helped = pair(pictures, crop_padding=1, readers=readers)
    order = epoch_order(24, 5, 0, 0)
    state = torch.get_rng_state()
    assert_equal(batches(alone, order), batches(helped, order))
    assert_equal(batches(alone, order, 2), batches(helped, order, 2))
    assert_equal(alone.eval_batches(7), helped.eval_batches(7))
    assert torch.equal(torch.get_rng_state(), state)


@settings(deadline=None, max_examples=60)
@given(n=st.integers(1, 40), images=st.integers(0, 9))
def test_pieces_cover_the_set_in_order(n: int, images: int) -> None:
    """Property: all examples in order, no piece larger than CHUNK unless it is one image."""
    shape = (n, 1, 1, stream.CHUNK // images if images else 2 * stream.CHUNK)
    pieces = [piece.indices for piece in consecutive(n, shape)]
    assert np.concatenate(pieces).tolist() == list(range(n))
    assert all(len(piece) <= max(1, images) for piece in pieces)


@pytest.mark.parametrize("readers", [0, 2])
def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path, pictures: Pictures, readers: int) -> None:
    """In the middle of an epoch: the batches before it come, then one message without a traceback in it."""
    shutil.copytree(pictures.folder, tmp_path / "set")
    copy = Pictures(tmp_path / "set", pictures.files, pictures.sha256, pictures.image_shape, None)
    (copy.folder / copy.files[13]).write_bytes(b"")
    come = []
    with pytest.raises(DataError) as caught:
        come.extend(read_ahead(copy, [Piece(np.arange(i, i + 4)) for i in range(0, 24, 4)], readers))
    assert len(come) == 3
    assert str(caught.value) == (
        f"{copy.folder / copy.files[13]}: is not the picture any more that it was when the run was set up."
    )


def children() -> set[int]:
    """The processes below this one that have not ended."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == os.getpid() and state != "Z":
            found.add(int(stat.parent.name))
    return found


def test_readers_end_when_the_reading_is_given_up(pictures: Pictures) -> None:
    """A run that stops in the middle of an epoch leaves nobody behind; signals to readers are not for them."""
    before = children()
    reading = read_ahead(pictures, [Piece(np.arange(i, i + 2)) for i in range(0, 24, 2)], 2)
    first = next(reading)
    readers = children() - before
    assert len(readers) == 2
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        for reader in readers:
            os.kill(reader, number)
    assert torch.equal(first, torch.from_numpy(pictures[:2]))
    assert torch.equal(next(reading), torch.from_numpy(pictures[2:4]))
    reading.close()
    assert not children() & readers


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gets_the_same_batches(pictures: Pictures) -> None:
    """Oracle: ImageSet on the same device; the batch itself waits for nothing."""
    sets = pair(pictures, crop_padding=2, device="cuda", readers=2)
    order = epoch_order(24, 5, 0, 0)
    for fed, resident in zip(sets[1].feed(order), sets[0].feed(order), strict=True):
        assert fed[0].is_pinned()
        generators = [torch.Generator("cuda").manual_seed(3) for _ in range(2)]
        torch.cuda.set_sync_debug_mode("error")
        try:
            x, y = sets[1].batch(fed, generators[0])
        finally:
            torch.cuda.set_sync_debug_mode("default")
        expected, labels = sets[0].batch(resident, generators[1])
        assert torch.equal(x, expected)
        assert torch.equal(y, labels)
    assert_equal(*(one.eval_batches(7) for one in sets))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """A hundred pictures of different sizes, of which random parts become squares of 8 pixels."""
    place = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(0)
    for i in range(100):
        shape = (*random.integers(12, 40, 2), 3)
        save(
            place / "set" / ("test" if i % 5 == 0 else "train") / CLASSES[i % 3] / f"{i}.png",
            image(random, i % 3, shape),
        )
    option = Folder(
        base_augment=True, crop_padding=0, flip=True, path=str(place / "set"), size=8, crop_area=[0.3, 0.9]
    )
    inputs = load_folder(option, place / "data").train.inputs
    assert isinstance(inputs, Pictures)
    return inputs


def fed(
    images: Pictures, order, first: int = 0, seed: int | None = 5, readers: int = 0
) -> list[torch.Tensor]:
    streamed = StreamedImages(images, np.zeros(len(images), np.int64), **HOW, readers=readers)
    return [x for x, _ in streamed.feed(order, first, seed)]


def test_random_crops_come_from_seed_step_and_row(photographs: Pictures) -> None:
    """Oracle: torchvision's resized_crop of the box that the generator of (seed, step, row) gives; without a seed the
    resized centre; another epoch's seed gives others.
    """
    order = epoch_order(len(photographs), 16, 0, 0)
    batches = fed(photographs, order)
    for step, (indices, batch) in enumerate(zip(order, batches, strict=True)):
        for row, i in enumerate(indices.tolist()):
            picture = Image.open(photographs.folder / photographs.files[i])
            box = random_box(generator(5, step, row), *picture.size, (0.3, 0.9))
            left, top, right, bottom = box
            expected = functional.resized_crop(picture, top, left, bottom - top, right - left, [8, 8])
            np.testing.assert_array_equal(batch[row], expected)
    for indices, batch in zip(order, fed(photographs, order, seed=None), strict=True):
        np.testing.assert_array_equal(batch, photographs[indices.numpy()])
    assert not torch.equal(batches[0], fed(photographs, order, seed=6)[0])


@pytest.mark.parametrize(("readers", "images"), [(0, 3), (1, 1000), (2, 5), (3, 16)])
def test_crops_are_the_same_whoever_reads_and_from_any_step(
    photographs: Pictures, readers: int, images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: this process reads whole batches; readers hand over so many images at once, and begin at step 3."""
    order = epoch_order(len(photographs), 16, 0, 0)
    alone = fed(photographs, order)
    monkeypatch.setattr(stream, "CHUNK", images * 8 * 8 * 3)
    for first in (0, 3):
        for one, two in zip(alone[first:], fed(photographs, order, first, readers=readers), strict=True):
            assert torch.equal(one, two)
