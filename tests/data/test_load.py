"""`mixbench.data.load`: what a run gets, and what it is told when it cannot have it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from mixbench.data import load
from mixbench.data.store import download
from mixbench.errors import ConfigError, DataError
from mixbench.inventory.paths import data_dir as resolve


def test_digits_need_nothing(data_dir: Path) -> None:
    splits = load("digits", data_dir)
    assert splits.train.inputs.shape == (1438, 8, 8, 1)
    assert splits.test.inputs.shape == (359, 8, 8, 1)
    assert splits.val is None
    assert splits.note == ""


def test_sizes_and_disjoint_parts(data_dir: Path) -> None:
    """Validation and training images are disjoint parts of the training set, all three in class proportion."""
    whole = load("digits", data_dir)
    splits = load("digits", data_dir, train_size=1000, val_size=300, test_size=100)
    assert [len(s.labels) for s in (splits.train, splits.val, splits.test)] == [1000, 300, 100]
    pixels = {image.tobytes() for image in whole.train.inputs}
    train, val = ({image.tobytes() for image in s.inputs} for s in (splits.train, splits.val))
    assert not train & val
    assert train | val <= pixels
    for part, source in ((splits.train, whole.train), (splits.val, whole.train), (splits.test, whole.test)):
        shares = np.bincount(source.labels) * len(part.labels) / len(source.labels)
        # the training part is drawn from what validation left: two roundings
        assert abs(np.bincount(part.labels) - shares).max() < 2
        labels = {image.tobytes(): label for image, label in zip(source.inputs, source.labels, strict=True)}
        assert all(labels[i.tobytes()] == label for i, label in zip(part.inputs, part.labels, strict=True))


def test_all_of_it_can_be_asked_for(data_dir: Path) -> None:
    splits = load("digits", data_dir, train_size=1338, val_size=100, test_size=359)
    assert len(splits.train.labels) + len(splits.val.labels) == 1438


def test_validation_part_does_not_depend_on_train_size(data_dir: Path) -> None:
    """Otherwise a learning curve over train_size would choose its epochs on different images."""
    one, two = (load("digits", data_dir, train_size=n, val_size=200).val for n in (100, 900))
    np.testing.assert_array_equal(one.inputs, two.inputs)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"train_size": 1439}, r"dataset\.train_size=1439: digits allows 1 to 1438"),
        ({"train_size": 1400, "val_size": 100}, r"dataset\.train_size=1400: digits allows 1 to 1338"),
        ({"val_size": 1438}, r"dataset\.val_size=1438: digits allows 1 to 1437"),
        ({"test_size": 0}, r"dataset\.test_size=0: digits allows 1 to 359"),
    ],
)
def test_sizes_it_does_not_have(data_dir: Path, sizes: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load("digits", data_dir, **sizes)


def test_unknown_name_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"cifar_100.*Did you mean 'cifar100'\?"):
        load("cifar_100")


def test_missing_set_without_network_says_what_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Port 9 of this machine refuses connections, as does everything where there is no network."""
    monkeypatch.setattr(download, "PAUSES", (0.0,))
    monkeypatch.setattr(download, "addresses", lambda *_: ["http://127.0.0.1:9/x"])
    with pytest.raises(DataError) as caught:
        load("svhn", tmp_path)
    message = str(caught.value)
    assert str(tmp_path / "downloads/svhn") in message
    assert "train_32x32.mat  182,040,794 bytes  MD5 e26dedcc434d2e4c54c9b2d4a06d8373" in message
    assert "test_32x32.mat  64,275,384 bytes  MD5 eb5a983be6a315427106f1b164d9cef3" in message
    assert not (tmp_path / "svhn").exists()


def test_unwritable_folder_is_explained(tmp_path: Path) -> None:
    """A file where the folder should be stands for every folder that cannot be made."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file: File exists.*data_dir=FOLDER.*MIXBENCH_DATA"):
        load("cifar10", tmp_path / "file")


def test_digits_work_where_nothing_can_be_written(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the digits read from a cache."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    expected = load("digits", data_dir)
    monkeypatch.setattr("mixbench.data.store.cache.sync", refuse)
    splits = load("digits", tmp_path)
    np.testing.assert_array_equal(splits.train.inputs, expected.train.inputs)
    np.testing.assert_array_equal(splits.test.labels, expected.test.labels)


def test_damaged_digits_are_not_passed_over(tmp_path: Path) -> None:
    load("digits", tmp_path)
    path = tmp_path / "digits/test_images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path}: SHA-256"):
        load("digits", tmp_path)


def test_where_data_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MIXBENCH_DATA", raising=False)
    assert resolve() == tmp_path / ".cache/mixbench"
    monkeypatch.setenv("MIXBENCH_DATA", "/from/environment")
    assert resolve() == Path("/from/environment")
    assert resolve("~/given") == tmp_path / "given"
