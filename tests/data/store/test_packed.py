"""Imports from packed files and .npz files; the packed files are real images."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import official_archives as archives
import pytest
from omegaconf import OmegaConf
from PIL import Image

from mixbench.data.store import cache
from mixbench.data.store.official import rgb
from mixbench.data.store.prepare import import_from, prepare
from mixbench.errors import DataError
from mixbench.schema.specs import ARRAYS, SPECS

PACKED = Path(os.environ.get("MIXBENCH_TEST_DATA") or Path(__file__).parents[4] / "shared/data")
CONF = Path(__file__).parents[3] / "conf/dataset"

realdata = pytest.mark.skipif(
    not (PACKED / "cifar100_test.npz").exists(), reason="needs the packed real images (MIXBENCH_TEST_DATA)"
)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with CIFAR-10 and CIFAR-100, imported from the packed files."""
    root = tmp_path_factory.mktemp("real")
    for name in ("cifar10", "cifar100"):
        import_from(SPECS[name], PACKED, root)
    return root


@pytest.mark.realdata
@realdata
def test_cifar100_is_the_published_one(real: Path) -> None:
    """Oracle: the shipped checksums of all four arrays (checked on import, and here by hand)."""
    meta = cache.read_meta(real, "cifar100")
    assert (meta.state, meta.note) == ("complete", "")
    arrays = cache.read(real, meta)
    for key in ARRAYS:
        assert hashlib.sha256(arrays[key].tobytes()).hexdigest() == SPECS["cifar100"].sha256[key]


@pytest.mark.realdata
@realdata
@pytest.mark.slow
@pytest.mark.long
def test_official_cifar100_archive_gives_the_same_checksums(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All 60,000 images in the official format (planar pickles in a tar), read through torchvision's class."""
    arrays = cache.read(real, cache.read_meta(real, "cifar100"))
    folder = tmp_path / "downloads/cifar100"
    monkeypatch.setattr(archives, "TAR_MODE", "w")  # not compressed: 2 s instead of 20 s
    spec = archives.write("cifar100", folder, arrays, monkeypatch)
    meta = prepare(dataclasses.replace(spec, sha256=SPECS["cifar100"].sha256), tmp_path)
    assert meta.state == "complete"
    assert {key: entry["sha256"] for key, entry in meta.files.items()} == SPECS["cifar100"].sha256


@pytest.mark.realdata
@realdata
def test_cifar10_says_which_images_are_inexact(real: Path) -> None:
    """Oracle: the README of the packed files: 77 train and 21 test images, 93 ships and 5 horses."""
    meta = cache.read_meta(real, "cifar10")
    arrays = cache.read(real, meta)
    assert meta.state == "inexact"
    assert meta.note.startswith("98 of 60000 images")
    assert [len(meta.inexact[split]) for split in ("train", "test")] == [77, 21]
    labels = np.concatenate([arrays[f"{s}_labels"][meta.inexact[s]] for s in ("train", "test")])
    assert np.bincount(labels).tolist() == [0, 0, 0, 0, 0, 0, 0, 5, 93]
    assert meta.files["train_labels"]["sha256"] == SPECS["cifar10"].sha256["train_labels"]


@pytest.mark.realdata
@realdata
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_statistics_in_the_config(real: Path, name: str) -> None:
    """Oracle: mean and deviation over all training pixels, to the four digits given."""
    images = cache.read(real, cache.read_meta(real, name))["train_images"]
    config = OmegaConf.load(CONF / f"{name}.yaml")
    counts = np.stack([np.bincount(images[..., c].ravel(), minlength=256) for c in range(3)])
    values = np.arange(256) / 255
    mean = counts @ values / counts.sum(1)
    std = np.sqrt(counts @ values**2 / counts.sum(1) - mean**2)
    np.testing.assert_allclose(config.mean, mean, atol=6e-5)
    np.testing.assert_allclose(config.std, std, atol=6e-5)


@pytest.mark.realdata
@realdata
def test_tiny_imagenet_sample_is_marked_partial(tmp_path: Path) -> None:
    """Two training images and one test image of each class, none in both."""
    meta = import_from(SPECS["tiny_imagenet"], PACKED, tmp_path)
    arrays = cache.read(tmp_path, meta)
    assert meta.state == "partial"
    assert "400 of 100000 train and 200 of 10000 test" in meta.note
    assert (np.bincount(arrays["train_labels"]) == 2).all()
    assert (np.bincount(arrays["test_labels"]) == 1).all()
    everything = np.concatenate([arrays["train_images"], arrays["test_images"]])
    assert len({image.tobytes() for image in everything}) == 600


@pytest.mark.realdata
@realdata
@pytest.mark.parametrize("damage", ["bit", "truncated", "absent"])
def test_damaged_packed_file_is_named(tmp_path: Path, damage: str) -> None:
    source = tmp_path / "packed"
    source.mkdir()
    for path in PACKED.glob("cifar100_*.npz"):
        (source / path.name).symlink_to(path)
    victim = source / "cifar100_train_1.npz"
    content = bytearray(victim.read_bytes())
    victim.unlink()
    content[len(content) // 2] ^= 1
    if damage != "absent":
        victim.write_bytes(content if damage == "bit" else content[: len(content) // 2])
    expected = r"found 25000 train and 10000 test images" if damage == "absent" else rf"{victim}: damaged"
    with pytest.raises(DataError, match=expected):
        import_from(SPECS["cifar100"], source, tmp_path)
    assert not (tmp_path / "cifar100").exists()


def test_npz_of_plain_arrays(tmp_path: Path) -> None:
    """Oracle: the arrays that were saved; labels of any integer type, grey images with or without last axis."""
    arrays = archives.random_arrays(SPECS["fashion_mnist"])
    saved = arrays | {
        "train_images": arrays["train_images"][..., 0],
        "test_labels": arrays["test_labels"].astype(np.uint8),
    }
    np.savez(tmp_path / "mine.npz", **saved)
    meta = import_from(SPECS["fashion_mnist"], tmp_path / "mine.npz", tmp_path / "data")
    assert meta.state == "partial"
    for key, array in cache.read(tmp_path / "data", meta).items():
        np.testing.assert_array_equal(array, arrays[key])


@pytest.mark.parametrize("first", ["channels", "rows"])
def test_npz_as_keras_has_it(tmp_path: Path, first: str) -> None:
    """Oracle: the arrays that were saved: names of Keras, labels as a column, images with either order of axes."""
    arrays = archives.random_arrays(SPECS["cifar10"])
    saved = {
        f"{letter}_{split}": arrays[f"{split}_{what}"]
        for split in ("train", "test")
        for letter, what in (("x", "images"), ("y", "labels"))
    }
    for split in ("train", "test"):
        saved[f"y_{split}"] = saved[f"y_{split}"].astype(np.uint8)[:, None]
        if first == "channels":
            saved[f"x_{split}"] = saved[f"x_{split}"].transpose(0, 3, 1, 2)
    np.savez(tmp_path / "keras.npz", **saved)
    meta = import_from(SPECS["cifar10"], tmp_path / "keras.npz", tmp_path / "data")
    assert meta.source.endswith("channels first") == (first == "channels")
    for key, array in cache.read(tmp_path / "data", meta).items():
        np.testing.assert_array_equal(array, arrays[key])


def test_npz_without_the_arrays_says_what_it_needs(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", x=np.zeros(3), train_images=np.zeros(3))
    with pytest.raises(
        DataError, match=r"train_labels, test_images, test_labels not found .*holds x, train_images"
    ):
        import_from(SPECS["kmnist"], tmp_path / "mine.npz", tmp_path / "data")


def test_npz_with_pickled_objects_is_refused(tmp_path: Path) -> None:
    """An object array would run code when it is loaded."""
    np.savez(tmp_path / "mine.npz", **dict.fromkeys(ARRAYS, np.array([{"a": 1}], dtype=object)))
    with pytest.raises(DataError, match=r"mine\.npz: damaged, or not of the expected form"):
        import_from(SPECS["kmnist"], tmp_path / "mine.npz", tmp_path / "data")


def test_array_under_the_name_of_an_archive(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    (tmp_path / "x.npy").rename(tmp_path / "x.npz")
    with pytest.raises(DataError, match=r"x\.npz: damaged, or not of the expected form"):
        import_from(SPECS["kmnist"], tmp_path / "x.npz", tmp_path / "data")


def test_source_that_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"nowhere: expected an \.npz file, a folder of packed files, cifar-10-python\.tar\.gz, a folder with",
    ):
        import_from(SPECS["cifar10"], tmp_path / "nowhere", tmp_path / "data")


def test_digits_are_scikit_learns(tmp_path: Path) -> None:
    """Oracle: load_digits; every image once, in one of the splits, classes in proportion; the shipped checksums."""
    from sklearn.datasets import load_digits

    meta = prepare(SPECS["digits"], tmp_path)
    arrays = cache.read(tmp_path, meta)
    assert {key: entry["sha256"] for key, entry in meta.files.items()} == SPECS["digits"].sha256
    pixels, labels = load_digits(return_X_y=True)
    images = np.concatenate([arrays["train_images"], arrays["test_images"]]).reshape(-1, 64)
    both = np.concatenate([arrays["train_labels"], arrays["test_labels"]])
    found = sorted(zip(map(tuple, (images / 15).tolist()), both.tolist(), strict=True))
    assert found == sorted(zip(map(tuple, pixels.tolist()), labels.tolist(), strict=True))
    shares = np.bincount(arrays["test_labels"]) / np.bincount(labels)
    assert abs(shares - 359 / 1797).max() < 1 / 170
    config = OmegaConf.load(CONF / "digits.yaml")
    scaled = arrays["train_images"] / 255
    np.testing.assert_allclose([config.mean[0], config.std[0]], [scaled.mean(), scaled.std()], atol=6e-5)


def _header(shape: tuple[int, ...]) -> bytes:
    written = io.BytesIO()
    np.lib.format.write_array_header_1_0(written, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return written.getvalue()


@pytest.mark.fault("data")
@pytest.mark.parametrize("case", ["claims", "bomb", "encrypted", "compression"])
def test_archives_from_outside(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A header that claims terabytes, arrays larger than the memory, an encrypted archive, an unknown compression: one
    message that names the file."""
    path = tmp_path / "theirs.npz"
    content = _header((10**13,) if case == "claims" else (100, 100)) + bytes(10_000)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ARRAYS:
            archive.writestr(f"{name}.npy", content)
    raw = bytearray(path.read_bytes())
    if case == "bomb":
        monkeypatch.setattr("mixbench.data.store.packed.machine_memory", lambda: 39_999)
    entry = -1
    while case in ("encrypted", "compression") and (entry := raw.find(b"PK\x01\x02", entry + 1)) >= 0:
        at, value = (8, 1) if case == "encrypted" else (10, 77)
        raw[entry + at : entry + at + 2] = value.to_bytes(2, "little")
    path.write_bytes(raw)
    words = {"bomb": "bytes of memory, and 39,999 are free", "encrypted": "it is encrypted"}.get(case, "")
    with pytest.raises(DataError, match=rf"theirs\.npz: damaged, or not of the expected form .*{words}"):
        import_from(SPECS["kmnist"], path, tmp_path / "data")


@pytest.mark.parametrize("kind", ["EPS", "large"])
def test_pictures_that_are_not_opened(kind: str) -> None:
    """Oracle: Pillow's own limit; an EPS, for which Pillow looks for a program, is of no allowed format."""
    picture = io.BytesIO()
    image = Image.new("L", (2, 2) if kind == "EPS" else (13_400, 13_400))
    image.save(picture, format="EPS" if kind == "EPS" else "PNG")
    with pytest.raises(ValueError, match="damaged picture: "):
        rgb(picture.getvalue())
