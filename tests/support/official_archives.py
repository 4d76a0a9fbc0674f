"""Writers of the official archive formats, for small data sets made up by the tests."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray
from PIL import Image

from mixbench.schema.specs import SPECS, Archive, DataSpec

Arrays = dict[str, NDArray]

TAR_MODE = "w:gz"


def random_arrays(spec: DataSpec, train: int = 30, test: int = 20, seed: int = 0) -> Arrays:
    """Noise images and labels in the shapes of `spec`; the first and the last class occur in both splits."""
    random = np.random.default_rng(seed)
    arrays: Arrays = {}
    for split, n in (("train", train), ("test", test)):
        arrays[f"{split}_images"] = random.integers(0, 256, (n, *spec.shape), dtype=np.uint8)
        labels = random.integers(0, spec.num_classes, n)
        labels[:2] = 0, spec.num_classes - 1
        arrays[f"{split}_labels"] = labels
    return arrays


def small_spec(name: str, folder: Path, arrays: Arrays) -> DataSpec:
    """The specification `name` with the sizes of `arrays` and the checksums of the archives in `folder`."""
    spec = SPECS[name]
    archives = []
    for archive in spec.archives:
        content = (folder / archive.file).read_bytes()
        archives.append(Archive(archive.file, len(content), hashlib.md5(content).hexdigest()))
    return dataclasses.replace(
        spec,
        train_size=len(arrays["train_labels"]),
        test_size=len(arrays["test_labels"]),
        archives=tuple(archives),
        sha256={},
    )


def write(name: str, folder: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch) -> DataSpec:
    """Writes the official archives of the set `name` with the content `arrays`; its adapted specification."""
    folder.mkdir(parents=True, exist_ok=True)
    writers = {"cifar10": _cifar10, "cifar100": _cifar100, "svhn": _svhn, "stl10": _stl10}
    writers.get(name, _mnist_type)(folder, arrays, monkeypatch)
    return small_spec(name, folder, arrays)


def tar(path: Path, members: Mapping[str, bytes]) -> None:
    with tarfile.open(path, TAR_MODE) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def planar(images: NDArray) -> NDArray:
    """NHWC images as rows of all red, then all green, then all blue values."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)


def _md5_list(members: Mapping[str, bytes]) -> list[list[str]]:
    return [[name, hashlib.md5(content).hexdigest()] for name, content in members.items()]


def _cifar10(folder: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR10

    images, labels = planar(arrays["train_images"]), arrays["train_labels"].tolist()
    fifth = len(images) // 5
    train = {
        f"data_batch_{i + 1}": _pickled(
            data=images[i * fifth : (i + 1) * fifth], labels=labels[i * fifth : (i + 1) * fifth]
        )
        for i in range(5)
    }
    test = {"test_batch": _pickled(data=planar(arrays["test_images"]), labels=arrays["test_labels"].tolist())}
    _write_cifar(CIFAR10, folder, train, test, {"label_names": list("abcdefghij")}, monkeypatch)


def _cifar100(folder: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR100

    files = {
        split: {
            split: _pickled(
                data=planar(arrays[f"{split}_images"]),
                fine_labels=arrays[f"{split}_labels"].tolist(),
                coarse_labels=[0] * len(arrays[f"{split}_labels"]),
            )
        }
        for split in ("train", "test")
    }
    names = {"fine_label_names": [str(i) for i in range(100)]}
    _write_cifar(CIFAR100, folder, files["train"], files["test"], names, monkeypatch)


def _pickled(**content: object) -> bytes:
    return pickle.dumps(content, protocol=2)


def _write_cifar(
    cls: type,
    folder: Path,
    train: dict[str, bytes],
    test: dict[str, bytes],
    names: dict[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    meta = {cls.meta["filename"]: _pickled(**names)}
    members = {f"{cls.base_folder}/{name}": content for name, content in (train | test | meta).items()}
    members[f"{cls.base_folder}/readme.html"] = b"not wanted"
    tar(folder / cls.filename, members)
    monkeypatch.setattr(cls, "train_list", _md5_list(train))
    monkeypatch.setattr(cls, "test_list", _md5_list(test))
    monkeypatch.setattr(cls, "meta", cls.meta | {"md5": _md5_list(meta)[0][1]})


def _svhn(folder: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import SVHN

    split_list = dict(SVHN.split_list)
    for split in ("train", "test"):
        labels = arrays[f"{split}_labels"]
        content = {
            "X": arrays[f"{split}_images"].transpose(1, 2, 3, 0),
            "y": np.where(labels == 0, 10, labels)[:, None].astype(np.uint8),
        }
        path = folder / f"{split}_32x32.mat"
        scipy.io.savemat(path, content, do_compression=True)
        split_list[split] = [*split_list[split][:2], hashlib.md5(path.read_bytes()).hexdigest()]
    monkeypatch.setattr(SVHN, "split_list", split_list)


def _stl10(folder: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import STL10

    files = {}
    for split in ("train", "test"):
        by_columns = np.ascontiguousarray(arrays[f"{split}_images"].transpose(0, 3, 2, 1))
        files[f"{split}_X.bin"] = by_columns.tobytes()
        files[f"{split}_y.bin"] = (arrays[f"{split}_labels"] + 1).astype(np.uint8).tobytes()
    folds = b"\n".join(b" ".join(b"%d" % i for i in range(300)) for _ in range(10))
    extra = {
        "unlabeled_X.bin": bytes(3 * 96 * 96),
        "fold_indices.txt": folds,
        "class_names.txt": b"airplane\n",
    }
    tar(folder / STL10.filename, {f"stl10_binary/{name}": c for name, c in (files | extra).items()})
    sums = dict(_md5_list(files))
    for attribute in ("train_list", "test_list"):
        known = [[name, sums.get(name, md5)] for name, md5 in getattr(STL10, attribute)]
        monkeypatch.setattr(STL10, attribute, known)


def _mnist_type(folder: Path, arrays: Arrays, _: pytest.MonkeyPatch) -> None:
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        header = struct.pack(">IIII", 2051, len(images), 28, 28)
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + images.tobytes()))
        header = struct.pack(">II", 2049, len(labels))
        content = header + labels.astype(np.uint8).tobytes()
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(content))


def jpeg(image: NDArray) -> bytes:
    """An image uint8 (H, W, 3), or grey (H, W), as a JPEG."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG")
    return out.getvalue()


def tiny_imagenet(path: Path, wnids: list[str], per_class: int, grey: tuple[int, ...] = ()) -> None:
    """A zip in the form of Tiny-ImageNet's; image numbers in `grey` are grey. wnids.txt keeps the order given."""
    random = np.random.default_rng(1)
    top = "tiny-imagenet-200"
    rows = []
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{top}/wnids.txt", "\n".join(wnids) + "\n")
        for number, (i, wnid) in enumerate((i, wnid) for i in range(per_class) for wnid in wnids):
            train, val = (random.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(2))
            train = train[..., 0] if number in grey else train
            archive.writestr(f"{top}/train/{wnid}/images/{wnid}_{i}.JPEG", jpeg(train))
            archive.writestr(f"{top}/val/images/val_{number}.JPEG", jpeg(val))
            rows.append(f"val_{number}.JPEG\t{wnid}\t0\t0\t62\t62")
        for wnid in wnids:
            archive.writestr(f"{top}/train/{wnid}/{wnid}_boxes.txt", "")
        archive.writestr(f"{top}/val/val_annotations.txt", "\n".join(rows) + "\n")
        archive.writestr(
            f"{top}/test/images/test_0.JPEG", jpeg(random.integers(0, 256, (64, 64, 3), np.uint8))
        )
