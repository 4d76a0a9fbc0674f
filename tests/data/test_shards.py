"""WebDataset shards: the same pictures as in a folder, in any order and from any step; bad ones are named."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset
from own_data import folder, shards

from mixbench.config.compose import compose
from mixbench.data.order import epoch_order
from mixbench.data.own import load_folder
from mixbench.data.stream import StreamedImages
from mixbench.errors import ConfigError, DataError
from mixbench.inventory import shards as module
from mixbench.schema.own import Folder, Shards

HOW = {"base_augment": True, "crop_padding": 0, "flip": True, "size": 8, "crop_area": [0.5, 1.0]}


@pytest.fixture(autouse=True)
def _own_index(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXBENCH_DATA", str(tmp_path_factory.mktemp("index")))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of 24 training and 12 test pictures, and its shards."""
    place = tmp_path_factory.mktemp("pair")
    root = folder(place / "set", shape=(20, 14, 3))
    return root, shards(root, place / "shards")


def found(path: Path) -> Shards:
    return Shards(path=str(path), **HOW)


@pytest.mark.parametrize("readers", [0, 2])
def test_they_are_read_as_a_folder(pair: tuple[Path, Path], readers: int) -> None:
    """Oracle: the folder's batches, bit for bit, in random crops and from the middle of an epoch."""

    def batches(option: Folder, seed: int | None, first: int = 0) -> Iterator[torch.Tensor]:
        train = load_folder(option, None).train
        streamed = StreamedImages(train.inputs, train.labels, mean=[0.5] * 3, std=[1.0] * 3, readers=readers)
        for fed in streamed.feed(epoch_order(24, 5, 0, 0, drop_last=False), first, seed):
            yield from fed

    root, made = pair
    for seed, first in ((None, 0), (3, 0), (3, 2)):
        for one, two in zip(
            batches(Folder(path=str(root), **HOW), seed, first),
            batches(found(made), seed, first),
            strict=True,
        ):
            assert torch.equal(one, two)
    one, two = load_folder(Folder(path=str(root), **HOW), None), load_folder(found(made), None)
    np.testing.assert_array_equal(one.test.inputs[:], two.test.inputs[:])
    np.testing.assert_array_equal(one.test.labels, two.test.labels)


def test_webdataset_reads_the_same(pair: tuple[Path, Path]) -> None:
    """Oracle: webdataset's own reader: keys, bytes and labels in the order of the shards."""
    train = load_folder(found(pair[1]), None).train
    names = sorted(str(path) for path in pair[1].glob("train-*.tar"))
    theirs = webdataset.WebDataset(names, shardshuffle=False)
    for sample, file, sha256, label in zip(
        theirs, train.inputs.files, train.inputs.sha256, train.labels, strict=True
    ):
        assert file.endswith(f".tar/{sample['__key__']}.png")
        assert hashlib.sha256(sample["png"]).digest() == sha256.tobytes()
        assert int(sample["cls"]) == label


def test_an_index_is_made_once(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for path in pair[1].iterdir():
        os.utime(path, (1e9, 1e9))
    reads, samples = [], module._samples
    monkeypatch.setattr(module, "_samples", lambda path: reads.append(path) or samples(path))
    contents = {found(pair[1]).found().content for _ in range(3)}
    assert len(contents) == 1
    assert len(reads) == len(list(pair[1].iterdir()))


def tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as made:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))


def damaged(copy: Path, how: str, png: bytes) -> None:
    shard = copy / "train-000002.tar"
    data = shard.read_bytes()
    if how == "missing":
        shard.unlink()
    elif how == "cut":
        shard.write_bytes(data[: len(data) // 2])
    elif how == "cut between samples":
        with tarfile.open(shard) as whole:
            shard.write_bytes(data[: whole.getmembers()[4].offset])
    elif how == "no tar":
        shard.write_bytes(b"x" * 2048)
    elif how == "no label":
        tar(shard, {"a.png": png, "b.png": png, "b.cls": b"1"})
    elif how == "words":
        tar(shard, {"a.png": png, "a.cls": b"cat"})
    elif how == "picture":
        tar(shard, {"a.png": png[:9], "a.cls": b"1"})
    elif how == "label":
        tar(shard, {"a.png": png, "a.cls": b"7"})
    elif how == "empty":
        for path in copy.iterdir():
            path.unlink()


DAMAGE = {
    "missing": "train-000002.tar: missing; there is train-000004.tar. Nothing is trained on the rest.",
    "cut": "train-000002.tar: is damaged, or no tar (unexpected end of data). Get this shard again.",
    "cut between samples": "train-000002.tar: was cut off: it does not end as a tar does. Get this shard again.",
    "no tar": "train-000002.tar: is damaged, or no tar (",
    "no label": "train-000002.tar/a.png: has no label a.cls",
    "words": "train-000002.tar/a.cls: is 'cat', no label in decimal digits",
    "picture": "train-000002.tar/a.png: is neither PNG, JPEG, BMP nor WEBP",
    "label": "the labels of the training shards are not 0, 1, ...",
    "empty": "has no shard train-000000.tar (it is empty)",
}


@pytest.mark.parametrize("how", DAMAGE)
def test_what_is_damaged_is_named(pair: tuple[Path, Path], tmp_path: Path, how: str) -> None:
    copy = Path(shutil.copytree(pair[1], tmp_path / "copy"))
    damaged(copy, how, next(pair[0].rglob("*.png")).read_bytes())
    with pytest.raises((ConfigError, DataError)) as caught:
        found(copy).found()
    assert DAMAGE[how] in str(caught.value)


def test_a_shard_that_changes_under_a_run_is_named(pair: tuple[Path, Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(pair[1], tmp_path / "copy"))
    inputs = load_folder(found(copy), None).train.inputs
    shard = copy / "train-000000.tar"
    shard.write_bytes(bytes(len(shard.read_bytes())))
    with pytest.raises(DataError, match=r"train-000000\.tar/ant/00\.png: is not the picture any more"):
        inputs[0]


def test_a_run(mixbench, workplace: Path, pair: tuple[Path, Path]) -> None:
    how = (
        "dataset=shards",
        f"dataset.path={pair[1]}",
        "dataset.size=8",
        "dataset.crop_area=[0.5,1]",
        "dataset.crop_padding=0",
    )
    done = mixbench("train", *how, "model=small_cnn", "epochs=1", "batch_size=8", "progress=false")
    assert done.status == 0, done.err
    assert "shards: 24 training, 12 test images 8x8x3, 3 classes; random crops of 50% to 100%" in done.out
    assert compose(["batch_size=8", *how]).dataset.content
