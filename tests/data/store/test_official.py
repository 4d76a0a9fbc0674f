"""Official archives, written by the tests in the official formats, must give back exactly what was put in."""

from __future__ import annotations

import dataclasses
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import official_archives as archives
import pytest
from torchvision.datasets import ImageFolder

from mixbench.data.store import cache
from mixbench.data.store.prepare import import_from, prepare
from mixbench.errors import DataError
from mixbench.schema.specs import ARRAYS, SPECS, Archive


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn", "stl10", "fashion_mnist", "kmnist"])
def test_what_was_packed_comes_out(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the arrays from which the archive was written (class 0 is SVHN's 10 and STL-10's 1)."""
    expected = archives.random_arrays(SPECS[name])
    spec = archives.write(name, tmp_path / "downloads" / name, expected, monkeypatch)
    meta = prepare(spec, tmp_path)
    arrays = cache.read(tmp_path, meta)
    assert meta.state == "complete"
    for key in ARRAYS:
        assert arrays[key].dtype == (np.uint8 if key.endswith("images") else np.int64)
        np.testing.assert_array_equal(arrays[key], expected[key])
    assert {path.name for path in tmp_path.iterdir()} == {"downloads", name, f"{name}.lock"}


def test_folder_of_archives_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: `prepare` from the same archives."""
    expected = archives.random_arrays(SPECS["kmnist"])
    spec = archives.write("kmnist", tmp_path / "elsewhere", expected, monkeypatch)
    meta = import_from(spec, tmp_path / "elsewhere", tmp_path)
    np.testing.assert_array_equal(cache.read(tmp_path, meta)["test_images"], expected["test_images"])


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "stl10"])
@pytest.mark.parametrize("given", ["root", "folder"])
def test_a_folder_that_torchvision_has_unpacked(
    name: str, given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the arrays from which the archive was written; torchvision's root, or the folder that it makes there."""
    expected = archives.random_arrays(SPECS[name])
    spec = archives.write(name, tmp_path / "archives", expected, monkeypatch)
    with tarfile.open(tmp_path / "archives" / spec.archives[0].file) as archive:
        archive.extractall(tmp_path / "root", filter="data")
    (folder,) = (tmp_path / "root").iterdir()
    meta = import_from(spec, folder if given == "folder" else folder.parent, tmp_path / "data")
    assert meta.source == f"unpacked archive {folder}"
    for key, array in cache.read(tmp_path / "data", meta).items():
        np.testing.assert_array_equal(array, expected[key])


def test_an_unpacked_file_that_was_changed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pickle whose MD5 sum is not the published one is not loaded."""
    spec = archives.write(
        "cifar10", tmp_path / "archives", archives.random_arrays(SPECS["cifar10"]), monkeypatch
    )
    with tarfile.open(tmp_path / "archives" / spec.archives[0].file) as archive:
        archive.extractall(tmp_path / "root", filter="data")
    victim = tmp_path / "root/cifar-10-batches-py/data_batch_3"
    victim.write_bytes(victim.read_bytes() + b".")
    with pytest.raises(DataError, match="cifar-10-batches-py: cannot be read"):
        import_from(spec, tmp_path / "root", tmp_path / "data")


def test_a_bare_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under any name, as its MD5 sum tells; another file is refused by it."""
    expected = archives.random_arrays(SPECS["cifar10"])
    spec = archives.write("cifar10", tmp_path / "archives", expected, monkeypatch)
    bare = (tmp_path / "archives" / spec.archives[0].file).rename(tmp_path / "cifar (1).tar.gz")
    meta = import_from(spec, bare, tmp_path / "data")
    np.testing.assert_array_equal(
        cache.read(tmp_path / "data", meta)["train_images"], expected["train_images"]
    )
    bare.write_bytes(bare.read_bytes()[:-1])
    with pytest.raises(DataError, match="MD5"):
        import_from(spec, bare, tmp_path / "other")


def test_tiny_imagenet_in_the_order_of_image_folder(tmp_path: Path) -> None:
    """Oracle: torchvision's ImageFolder on the unpacked training folder; the validation images one by one."""
    path = tmp_path / "downloads/tiny_imagenet/tiny-imagenet-200.zip"
    path.parent.mkdir(parents=True)
    wnids = ["n03", "n01", "n02"]  # as in the official wnids.txt, not in alphabetical order
    archives.tiny_imagenet(path, wnids, per_class=12, grey=(4,))  # 12, so that _10 sorts before _2
    spec = archives.small_spec(
        "tiny_imagenet", path.parent, {"train_labels": np.zeros(36), "test_labels": np.zeros(36)}
    )
    arrays = cache.read(tmp_path, prepare(spec, tmp_path))

    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "plain")
    folder = ImageFolder(str(tmp_path / "plain/tiny-imagenet-200/train"))
    np.testing.assert_array_equal(arrays["train_labels"], [label for _, label in folder.samples])
    np.testing.assert_array_equal(
        arrays["train_images"], np.stack([np.asarray(image) for image, _ in folder])
    )
    assert any((image[..., 0] == image[..., 1]).all() for image in arrays["train_images"])  # the grey one
    val = tmp_path / "plain/tiny-imagenet-200/val"
    for i, row in enumerate((val / "val_annotations.txt").read_text().splitlines()):
        file, wnid = row.split("\t")[:2]
        np.testing.assert_array_equal(arrays["test_images"][i], folder.loader(str(val / "images" / file)))
        assert arrays["test_labels"][i] == sorted(wnids).index(wnid)


@pytest.mark.fault("data")
def test_wrong_md5_is_named_with_both_sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "downloads/cifar10"
    spec = archives.write("cifar10", folder, archives.random_arrays(SPECS["cifar10"]), monkeypatch)
    path = folder / "cifar-10-python.tar.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{path}: MD5 is [0-9a-f]{{32}} .*expected {spec.archives[0].md5}"):
        prepare(spec, tmp_path)
    assert not (tmp_path / "cifar10").exists()


@pytest.mark.fault("data")
@pytest.mark.parametrize("name", ["cifar10", "svhn", "stl10", "tiny_imagenet", "kmnist"])
def test_garbage_with_the_right_md5_is_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "downloads" / name
    folder.mkdir(parents=True)
    for archive in SPECS[name].archives:
        (folder / archive.file).write_bytes(np.random.default_rng(0).bytes(2000))
    spec = archives.small_spec(name, folder, archives.random_arrays(SPECS[name]))
    with pytest.raises(DataError, match=rf"{folder}/{SPECS[name].archives[0].file}.*cannot be decoded"):
        prepare(spec, tmp_path)
    assert not (tmp_path / name).exists()


@pytest.mark.fault("data")
def test_too_few_images_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "downloads/kmnist"
    spec = archives.write("kmnist", folder, archives.random_arrays(SPECS["kmnist"], train=30), monkeypatch)
    with pytest.raises(DataError, match="found 30 train and 20 test images of kmnist, expected 31 and 20"):
        prepare(dataclasses.replace(spec, train_size=31), tmp_path)


@pytest.mark.fault("data")
def test_tar_that_climbs_out_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "downloads/cifar100"
    folder.mkdir(parents=True)
    archives.tar(folder / "cifar-100-python.tar.gz", {"cifar-100-python/../../../evil": b"x"})
    spec = archives.small_spec("cifar100", folder, archives.random_arrays(SPECS["cifar100"]))
    with pytest.raises(DataError, match="outside"):
        prepare(spec, tmp_path)
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.fault("data")
def test_zip_that_climbs_out_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "downloads/tiny_imagenet/tiny-imagenet-200.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../evil", "x")
    spec = archives.small_spec("tiny_imagenet", path.parent, archives.random_arrays(SPECS["tiny_imagenet"]))
    with pytest.raises(DataError, match="outside"):
        prepare(spec, tmp_path)


def test_missing_archives_in_an_import_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train_32x32\.mat and test_32x32\.mat"):
        import_from(SPECS["svhn"], tmp_path, tmp_path / "data")


def test_prepared_set_is_left_alone_unless_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "downloads/kmnist"
    first = archives.random_arrays(SPECS["kmnist"], seed=1)
    second = archives.random_arrays(SPECS["kmnist"], seed=2)
    prepare(archives.write("kmnist", folder, first, monkeypatch), tmp_path)
    spec = archives.write("kmnist", folder, second, monkeypatch)
    for replace, expected in ((False, first), (True, second)):
        arrays = cache.read(tmp_path, prepare(spec, tmp_path, replace=replace))
        np.testing.assert_array_equal(arrays["train_images"], expected["train_images"])


def test_specs_name_what_torchvision_names() -> None:
    """Oracle: addresses, file names and MD5 sums in torchvision's data set classes."""
    from torchvision import datasets

    for name, cls in (
        ("cifar10", datasets.CIFAR10),
        ("cifar100", datasets.CIFAR100),
        ("stl10", datasets.STL10),
    ):
        spec = SPECS[name]
        assert [(a.file, a.md5) for a in spec.archives] == [(cls.filename, cls.tgz_md5)]
        assert spec.host + spec.archives[0].file == cls.url
    for split, archive in zip(("train", "test"), SPECS["svhn"].archives, strict=True):
        expected = [SPECS["svhn"].host + archive.file, archive.file, archive.md5]
        assert datasets.SVHN.split_list[split] == expected
    for name, cls in (("fashion_mnist", datasets.FashionMNIST), ("kmnist", datasets.KMNIST)):
        assert [(a.file, a.md5) for a in SPECS[name].archives] == cls.resources
        assert SPECS[name].host in cls.mirrors
    assert all(isinstance(a, Archive) and a.bytes > 5000 for s in SPECS.values() for a in s.archives)
