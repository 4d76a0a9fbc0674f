"""Batches on the device: crop, flip and normalisation of every image, and how they are drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from torchvision.transforms.v2 import functional as F

from mixbench.data.images import ImageSet


def images_of(n: int, height: int, width: int, channels: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, channels), dtype=np.uint8)


def image_set(images: NDArray[np.uint8], **kwargs: object) -> ImageSet:
    channels = images.shape[-1]
    statistics = {"mean": [0.5, 0.4, 0.3][:channels], "std": [0.2, 0.25, 0.3][:channels]}
    return ImageSet(images, np.arange(len(images)) % 7, **(statistics | kwargs))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


shapes = st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))


@settings(deadline=None, max_examples=60)
@given(shape=shapes, padding=st.integers(0, 5), flip=st.booleans(), seed=st.integers(0, 99))
def test_batch_equals_brute_force(shape: tuple[int, int, int], padding: int, flip: bool, seed: int) -> None:
    """Oracle: one image at a time, padded, cut and mirrored with NumPy, at the offsets that were drawn."""
    images = images_of(20, *shape)
    data = image_set(images, crop_padding=padding, flip=flip)
    indices = torch.randint(0, 20, (12,), generator=generator(seed))
    x, y = data.batch((indices,), generator(seed))
    top, left, flipped = data._draw(12, generator(seed))
    for i, index in enumerate(indices.tolist()):
        padded = np.pad(images[index], ((padding, padding), (padding, padding), (0, 0)))
        cut = padded[top[i] : top[i] + shape[0], left[i] : left[i] + shape[1]]
        cut = cut[:, ::-1] if flipped[i] else cut
        expected = (cut / 255 - np.array(data_mean(shape[2]))) / np.array(data_std(shape[2]))
        np.testing.assert_allclose(x[i].permute(1, 2, 0).numpy(), expected, rtol=0, atol=2e-6)
        assert y[i] == index % 7


def data_mean(channels: int) -> list[float]:
    return [0.5, 0.4, 0.3][:channels]


def data_std(channels: int) -> list[float]:
    return [0.2, 0.25, 0.3][:channels]


def test_batch_equals_torchvision() -> None:
    """Oracle: torchvision.transforms.v2.functional pad, crop, horizontal_flip, to_dtype and normalize."""
    images = images_of(16, 32, 32, 3)
    data = image_set(images, crop_padding=4, flip=True)
    x, _ = data.batch((torch.arange(16),), generator(5))
    top, left, flipped = data._draw(16, generator(5))
    assert 0 < flipped.sum() < 16
    for i in range(16):
        image = F.pad(torch.from_numpy(images[i]).permute(2, 0, 1), [4, 4, 4, 4])
        image = F.crop(image, int(top[i]), int(left[i]), 32, 32)
        image = F.horizontal_flip(image) if flipped[i] else image
        expected = F.normalize(F.to_dtype(image, torch.float32, scale=True), data_mean(3), data_std(3))
        torch.testing.assert_close(x[i], expected, rtol=0, atol=2e-6)


def read_offsets(padding: int, n: int, **kwargs: object) -> tuple[NDArray, NDArray, NDArray]:
    """Row and column offsets and flips of `n` crops, read off an image whose pixels hold their own place."""
    side = 12
    places = np.zeros((1, side, side, 3), np.uint8)
    places[0, ..., 0] = np.arange(side)[:, None] + 100
    places[0, ..., 1] = np.arange(side) + 100
    data = ImageSet(places, np.zeros(1, np.int64), mean=[0] * 3, std=[1] * 3, crop_padding=padding, **kwargs)
    x, _ = data.batch((torch.zeros(n, dtype=torch.int64),), generator(3))
    x = (x * 255).round().long().numpy()
    middle = x[:, :, side // 2, side // 2]  # never in the padding as long as padding < side / 2
    flipped = x[:, 1, side // 2, side // 2] > x[:, 1, side // 2, side // 2 + 1]
    column = np.where(flipped, side - 1 - side // 2, side // 2)
    return middle[:, 0] - 100 + padding - side // 2, middle[:, 1] - 100 + padding - column, flipped


def test_offsets_are_uniform_and_flips_even() -> None:
    """Chi-square over all pairs of offsets, and a binomial test of the flips, read off the images themselves."""
    n, padding = 40_000, 4
    top, left, flipped = read_offsets(padding, n, flip=True)
    sides = 2 * padding + 1
    assert (top.min(), top.max(), left.min(), left.max()) == (0, 2 * padding, 0, 2 * padding)
    pairs = np.bincount(top * sides + left, minlength=sides**2)
    assert stats.chisquare(pairs).pvalue > 1e-4
    assert stats.binomtest(int(flipped.sum()), n, 0.5).pvalue > 1e-4
    with_flips = np.bincount((top * sides + left)[flipped], minlength=sides**2)
    assert stats.chisquare(with_flips).pvalue > 1e-4


def test_no_crop_and_no_flip_when_switched_off() -> None:
    top, left, flipped = read_offsets(0, 500, flip=False)
    assert not top.any()
    assert not left.any()
    assert not flipped.any()


def test_padding_is_black_before_normalisation() -> None:
    """A white image under padding 3: the border is (0 - mean) / std, not 0."""
    white = np.full((1, 4, 4, 1), 255, np.uint8)
    data = ImageSet(white, np.zeros(1, np.int64), mean=[0.25], std=[0.5], crop_padding=3)
    x, _ = data.batch((torch.zeros(200, dtype=torch.int64),), generator())
    torch.testing.assert_close(x.unique(), torch.tensor([-0.5, 1.5]))


def test_without_augmentation_every_way_gives_the_plain_image() -> None:
    """Oracle: (x / 255 - mean) / std in float64; eval_batches goes through the set in order."""
    images = images_of(23, 6, 5, 3)
    data = image_set(images, crop_padding=2, flip=True)
    expected = ((images / 255 - data_mean(3)) / data_std(3)).transpose(0, 3, 1, 2)
    order = torch.randperm(23)
    x, y = data.batch((order,), None)
    np.testing.assert_allclose(x.numpy(), expected[order], rtol=0, atol=2e-6)
    assert torch.equal(y, order % 7)
    batches = list(data.eval_batches(10))
    assert [len(labels) for _, labels in batches] == [10, 10, 3]
    np.testing.assert_allclose(torch.cat([x for x, _ in batches]).numpy(), expected, rtol=0, atol=2e-6)
    assert torch.equal(torch.cat([y for _, y in batches]), torch.arange(23) % 7)


def test_the_set_itself_is_not_changed_by_use() -> None:
    images = images_of(8, 5, 5, 1)
    data = image_set(images, crop_padding=1, flip=True)
    for seed in range(3):
        data.batch((torch.arange(8),), generator(seed))[0].mul_(0)
    np.testing.assert_array_equal(data.images.numpy(), images)


def test_draws_come_from_the_generator_alone() -> None:
    """Same seed, same batch, whatever the global generator does; another seed, another batch."""
    data = image_set(images_of(32, 8, 8, 3), crop_padding=2, flip=True)
    torch.manual_seed(1)
    first = data.batch((torch.arange(32),), generator(7))[0]
    state = torch.get_rng_state()
    torch.manual_seed(2)
    again = data.batch((torch.arange(32),), generator(7))[0]
    other = data.batch((torch.arange(32),), generator(8))[0]
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("channels_last", [True, False])
def test_memory_format_and_rounding(dtype: torch.dtype, channels_last: bool) -> None:
    """Lower precision is the float32 batch, rounded once; the memory format changes no value."""
    images = images_of(8, 6, 7, 3)
    exact = image_set(images, crop_padding=1).batch((torch.arange(8),), generator())[0]
    data = image_set(images, crop_padding=1, dtype=dtype, channels_last=channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for x in (data.batch((torch.arange(8),), generator())[0], next(data.eval_batches(8))[0]):
        assert x.dtype == dtype
        assert x.is_contiguous(memory_format=layout)
    assert torch.equal(data.batch((torch.arange(8),), generator())[0], exact.to(dtype))


def test_read_only_memory_maps_are_accepted(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    images = images_of(4, 3, 3, 1)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", np.arange(4))
    maps = [np.load(tmp_path / name, mmap_mode="r") for name in ("images.npy", "labels.npy")]
    data = ImageSet(*maps, mean=[0.5], std=[0.5])
    np.testing.assert_array_equal(data.images.numpy(), images)
    assert data.labels.tolist() == [0, 1, 2, 3]
    assert not recwarn.list


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((4, 3, 3, 1), np.float64)}, "uint8 or float32"),
        ({"images": np.zeros((4, 3, 3), np.uint8)}, r"\(4, 3, 3\)"),
        ({"labels": np.zeros(3, np.int64)}, r"labels \(N,\), got .* and \(3,\)"),
        ({"mean": [0.5, 0.5]}, "need 1 numbers, got 2 and 1"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict, message: str) -> None:
    arguments = {"images": np.zeros((4, 3, 3, 1), np.uint8), "labels": np.zeros(4, np.int64)}
    with pytest.raises(ValueError, match=message):
        ImageSet(**(arguments | {"mean": [0.5], "std": [0.5]} | change))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_nothing_waits_for_the_device() -> None:
    """Oracle: torch's own detector of synchronising calls; the values are those of the CPU at the same offsets."""
    images = images_of(64, 32, 32, 3)
    data = image_set(images, crop_padding=4, flip=True, device="cuda")
    indices = torch.arange(64, device="cuda")
    random = torch.Generator("cuda").manual_seed(0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        x, y = data.batch((indices,), random)
        data.batch((indices,), None)
        list(data.eval_batches(10))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    top, left, flipped = data._draw(64, torch.Generator("cuda").manual_seed(0))
    host = image_set(images, crop_padding=4, flip=True)
    host._draw = lambda *_: (top.cpu(), left.cpu(), flipped.cpu())
    expected, labels = host.batch((indices.cpu(),), generator())
    torch.testing.assert_close(x.cpu(), expected, rtol=0, atol=2e-6)
    assert torch.equal(y.cpu(), labels)


def test_the_mean_image_is_the_mean_of_all_normalised_images() -> None:
    """Oracle: the mean of the evaluation batches; base augmentation plays no part."""
    data = image_set(images_of(23, 5, 7, 3), crop_padding=2, flip=True)
    (batch,) = [x for x, _ in data.eval_batches(100)]
    torch.testing.assert_close(data.mean_input(), batch.mean(0), rtol=1e-5, atol=1e-5)


def test_float_images_are_normalised_as_they_are() -> None:
    """Oracle: (x - mean) / std, for values of any size; the same as of bytes where these are divided by 255."""
    images = np.random.default_rng(0).normal(3, 5, (9, 4, 6, 2)).astype(np.float32)
    data = ImageSet(images, np.arange(9), mean=[3, -1], std=[5, 2], crop_padding=1)
    expected = ((images - [3, -1]) / [5, 2]).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(data.batch((torch.arange(9),), None)[0].numpy(), expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(data.mean_input().numpy(), expected.mean(0), rtol=0, atol=2e-6)
    bytes_ = images_of(5, 3, 3, 1)
    as_floats = ImageSet((bytes_ / np.float32(255)).astype(np.float32), np.arange(5), mean=[0.5], std=[0.2])
    as_bytes = ImageSet(bytes_, np.arange(5), mean=[0.5], std=[0.2])
    torch.testing.assert_close(next(as_floats.eval_batches(9))[0], next(as_bytes.eval_batches(9))[0])


@settings(deadline=None, max_examples=40)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=6), first=st.integers(0, 5))
def test_a_feed_goes_on_from_any_step(sizes: list[int], first: int) -> None:
    """Oracle: the batches of the whole feed, without those before `first`."""
    data = image_set(images_of(7, 3, 3, 1))
    order = torch.randint(0, 7, (sum(sizes),)).split(sizes)
    whole = [indices.tolist() for (indices,) in data.feed(order)]
    assert whole == [indices.tolist() for indices in order]
    assert [indices.tolist() for (indices,) in data.feed(order, first)] == whole[first:]
