"""An .npz file, looked at without loading its images: classes, checksum, and what it is refused for."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from own_data import arrays, npz

from mixbench.errors import ConfigError, DataError
from mixbench.inventory import arrays as module
from mixbench.inventory.arrays import ArrayFile, look

Made = dict[str, NDArray]


@pytest.fixture(autouse=True)
def _own_index(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXBENCH_DATA", str(tmp_path_factory.mktemp("index")))


def found(path: Path) -> ArrayFile:
    return look(str(path))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ["uint8", "<f8", ">f4", "fortran", "grey"])
def test_what_is_read_is_what_numpy_reads(tmp_path: Path, compressed: bool, kind: str) -> None:
    """Oracle: numpy.load."""
    made = arrays(shape=(5, 4, 1 if kind == "grey" else 3))
    for name in ("train_images", "test_images"):
        if kind == "grey":
            made[name] = made[name][..., 0]
        elif kind == "fortran":
            made[name] = np.asfortranarray(made[name])
        else:
            made[name] = made[name].astype(kind)
    path = npz(tmp_path / "set.npz", made, compressed)
    here = found(path)
    assert here.shape == (5, 4, 1 if kind == "grey" else 3)
    assert here.classes == ("0", "1", "2")
    with np.load(path) as loaded:
        for part in ("train", "test"):
            images = loaded[f"{part}_images"]
            np.testing.assert_array_equal(here.read(part), images[..., None] if kind == "grey" else images)
            assert here.labels[part].tolist() == loaded[f"{part}_labels"].tolist()


LABELS = st.sampled_from(["<i8", "u1", ">i2", "U", "S", "column", "bool"])


@settings(deadline=None, max_examples=60)
@given(values=st.lists(st.integers(0, 100), min_size=2, max_size=5, unique=True), kind=LABELS, data=st.data())
def test_labels_of_any_kind_become_positions_in_sorted_order(
    tmp_path_factory: pytest.TempPathFactory, values: list[int], kind: str, data: st.DataObject
) -> None:
    """Oracle: sorted(set(labels)).index, one label at a time."""
    values = [0, 1] if kind == "bool" else values
    train = [*values, *data.draw(st.lists(st.sampled_from(values), max_size=9))]
    test = data.draw(st.lists(st.sampled_from(values), min_size=1, max_size=9))
    made = {
        f"{part}_{name}": array
        for part, labels in (("train", train), ("test", test))
        for name, array in (("images", np.zeros((len(labels), 2, 2), np.uint8)), ("labels", np.array(labels)))
    }
    texts = {"U": "Größe {}", "S": "size {}"}
    for name in ("train_labels", "test_labels"):
        if kind in texts:
            made[name] = np.array(
                [texts[kind].format(v).encode() if kind == "S" else texts[kind].format(v) for v in made[name]]
            )
        elif kind == "column":
            made[name] = made[name][:, None]
        else:
            made[name] = made[name].astype(kind)
    here = found(npz(tmp_path_factory.mktemp("npz") / "set.npz", made))
    given = {part: made[f"{part}_labels"].reshape(-1).tolist() for part in ("train", "test")}
    known = sorted(set(given["train"]))
    for part, labels in given.items():
        assert here.labels[part].tolist() == [known.index(label) for label in labels]
        assert here.labels[part].dtype == np.int64
    assert here.classes == tuple(k.decode() if isinstance(k, bytes) else str(k) for k in known)


def test_names_of_classes_may_be_given(tmp_path: Path) -> None:
    """Numbers are positions in `classes`; texts have the order of `classes`, not that of the alphabet."""
    made = arrays() | {"classes": np.array(["z", "m", "a"])}
    numbers = found(npz(tmp_path / "numbers.npz", made))
    names = {k: made["classes"][v] if k.endswith("labels") else v for k, v in made.items()}
    texts = found(npz(tmp_path / "texts.npz", names))
    for here in (numbers, texts):
        assert here.classes == ("z", "m", "a")
        assert here.labels["test"].tolist() == made["test_labels"].tolist()


def test_one_part_alone(tmp_path: Path) -> None:
    made = arrays()
    whole = {"images": made["train_images"], "labels": made["train_labels"], "extra": np.arange(3)}
    here = found(npz(tmp_path / "whole.npz", whole))
    assert (*here.images.items(),) == (("train", "images"),)
    assert here.unused == ("extra",)
    train = {k: v for k, v in made.items() if k.startswith("train")}
    assert found(npz(tmp_path / "train.npz", train)).images == {"train": "train_images"}


def test_the_content_is_that_of_the_arrays_alone(tmp_path: Path) -> None:
    """Property: equal for a copy, another compression, other times, further arrays; different after any change."""
    made = arrays()
    first = npz(tmp_path / "set.npz", made)
    content = found(first).content
    (tmp_path / "b").mkdir()
    for copy in (
        Path(shutil.copy(first, tmp_path / "b" / "x.npz")),
        npz(tmp_path / "c.npz", made, compressed=True),
        npz(tmp_path / "d.npz", dict(reversed(made.items()))),
        npz(tmp_path / "e.npz", made | {"extra": np.arange(3)}),
    ):
        assert found(copy).content == content
    pixels = made["train_images"].copy()
    pixels[5, 3, 4, 1] ^= 1
    changes = [
        {"train_images": pixels},
        {"train_images": made["train_images"][::-1]},
        {"train_labels": made["train_labels"] * 2, "test_labels": made["test_labels"] * 2},
        {
            "train_images": made["train_images"].astype(np.float32),
            "test_images": made["test_images"].astype(np.float32),
        },
        {"classes": np.array(["a", "b", "c"])},
    ]
    contents = [found(npz(tmp_path / "f.npz", made | change)).content for change in changes]
    assert len({content, *contents}) == len(changes) + 1


def test_the_file_is_read_again_only_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = npz(tmp_path / "set.npz", arrays())
    os.utime(path, (1e9, 1e9))
    read: list[int] = []
    skip = module._skip_header
    monkeypatch.setattr(module, "_skip_header", lambda file: read.append(1) or skip(file))
    contents = [found(path).content, found(path).content]
    assert len(read) == 4
    npz(path, arrays(seed=1))
    os.utime(path, (1e9, 1e9 + 1))
    assert found(path).content != contents[0] == contents[1]
    assert len(read) == 8


def test_a_file_that_changes_between_look_and_load_is_refused(tmp_path: Path) -> None:
    path = npz(tmp_path / "set.npz", arrays())
    here = found(path)
    npz(path, arrays(train=27))
    with pytest.raises(DataError, match="was changed while mixbench looked at it"):
        here.read("train")


def member(array: NDArray, shape: str | None = None) -> bytes:
    """The .npy form of an array, with another shape in its header."""
    file = io.BytesIO()
    np.save(file, array)
    data = file.getvalue()
    if shape is None:
        return data
    old = f"'shape': {array.shape}".encode()
    assert old in data
    length = len(data) - array.nbytes
    header = data[:length].replace(old, f"'shape': {shape}".encode())
    return header.rstrip(b" \n").ljust(length - 1)[: length - 1] + b"\n" + data[length:]


def forged(path: Path, **members: bytes) -> Path:
    npz(path, arrays())
    with zipfile.ZipFile(path) as old:
        kept = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, data in {**kept, **{f"{k}.npy": v for k, v in members.items()}}.items():
            new.writestr(name, data)
    return path


class Trap:
    """Unpickling one leaves a mark."""

    mark: Path

    def __reduce__(self) -> tuple[Callable, tuple]:
        return Path.touch, (self.mark,)


def test_objects_are_never_loaded(tmp_path: Path) -> None:
    Trap.mark = tmp_path / "mark"
    for name in ("train_labels", "train_images", "classes"):
        made = arrays()
        objects = np.empty(len(made.get(name, "abc")), object)
        objects[:] = [Trap()] * len(objects)
        path = npz(tmp_path / "set.npz", made | {name: objects})
        with pytest.raises(DataError, match=f"{name} holds Python objects, which may hide a program"):
            found(path)
    assert not Trap.mark.exists()


def test_damaged_files(tmp_path: Path) -> None:
    path = npz(tmp_path / "set.npz", arrays())
    data = bytearray(path.read_bytes())
    for damage in (b"", b"no zip at all", bytes(data[: len(data) // 2]), bytes(data[:40] + data[60:])):
        path.write_bytes(damage)
        with pytest.raises(DataError, match=r"set\.npz: cannot be read, is damaged, or is no \.npz"):
            found(path)
    where = data.index(b"NUMPY", 500) + 1500
    data[where] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"is no \.npz file \(Bad CRC-32 for file '\w+_images\.npy'"):
        found(path)


def test_absurd_sizes(tmp_path: Path) -> None:
    """A header that claims a petabyte allocates nothing."""
    images = arrays()["train_images"]
    claim = member(images, "(24, 10000000, 10000000, 3)")
    with pytest.raises(DataError, match=r"train_images claims to be uint8 .* 7,200,000,000,000,000 bytes"):
        found(forged(tmp_path / "set.npz", train_images=claim))
    with pytest.raises(DataError, match="damaged"):
        found(forged(tmp_path / "set.npz", train_images=member(images, "(-24, 10, 8, 3)")))
    with pytest.raises(DataError, match="damaged"):
        found(forged(tmp_path / "set.npz", train_labels=b"\x93NUMPY\x01\x00"))


def no_test_labels(made: Made) -> None:
    del made["test_labels"]


def both(made: Made) -> None:
    made["images"] = made["train_images"]


def bare(made: Made) -> None:
    made["x"] = made["train_images"]
    for name in [name for name in made if name != "x"]:
        del made[name]


def setter(**values: Callable[[Made], NDArray]) -> Callable[[Made], None]:
    def set_(made: Made) -> None:
        made.update({name: value(made) for name, value in values.items()})

    return set_


REFUSED = {
    "no test labels": (no_test_labels, "has no array test_labels. It needs train_images, train_labels"),
    "both": (both, "holds both train_images and images"),
    "other names": (bare, r"has no array train_images, train_labels.*it holds x\."),
    "int images": (
        setter(train_images=lambda m: m["train_images"].astype(int)),
        "train_images are int64; allowed: uint8",
    ),
    "complex": (setter(train_images=lambda m: m["train_images"] * 1j), "train_images are complex128"),
    "flat": (
        setter(train_images=lambda m: m["train_images"].reshape(24, -1)),
        r"shape \(24, 240\); needed: \(N, H, W, C\)",
    ),
    "channels first": (
        setter(train_images=lambda m: m["train_images"].transpose(0, 3, 1, 2)),
        r"shape \(24, 3, 10, 8\), which is channels first; needed: .* as train_images\.transpose\(0, 2, 3, 1\)",
    ),
    "none": (setter(train_images=lambda m: m["train_images"][:0]), r"shape \(0, 10, 8, 3\)"),
    "other shape": (
        setter(test_images=lambda m: m["test_images"][:, :5]),
        r"test_images are uint8 \(5, 8, 3\), and train_images uint8 \(10, 8, 3\)",
    ),
    "other type": (setter(test_images=lambda m: m["test_images"] / 255), "they must be alike"),
    "short labels": (
        setter(train_labels=lambda m: m["train_labels"][1:]),
        r"train_labels have shape \(23,\); needed: \(24,\), one for each image",
    ),
    "one-hot": (
        setter(train_labels=lambda m: np.eye(3, dtype=int)[m["train_labels"]]),
        r"train_labels have shape \(24, 3\)",
    ),
    "float labels": (
        setter(train_labels=lambda m: m["train_labels"] * 1.0),
        "train_labels are float64; allowed: whole numbers or texts",
    ),
    "mixed labels": (
        setter(train_labels=lambda m: m["train_labels"].astype(str)),
        "texts in one part and numbers in the other",
    ),
    "only in test": (
        setter(test_labels=lambda m: m["test_labels"] + 2),
        "test_labels has 3, 4, which train_labels does not",
    ),
    "one class": (
        setter(train_labels=lambda m: m["train_labels"] * 0, test_labels=lambda m: m["test_labels"] * 0),
        "all labels are 0; two classes or more",
    ),
    "few classes": (
        setter(classes=lambda _: np.array(["a", "b"])),
        "train_labels has 2, which classes does not; allowed: 0 to 1",
    ),
    "empty class": (
        setter(classes=lambda _: np.array(["a", "b", "c", "d"])),
        "no image of class d in train_labels",
    ),
    "twice": (setter(classes=lambda _: np.array(["a", "b", "a"])), "a name occurs twice"),
    "classes of floats": (setter(classes=lambda _: np.array([0.5, 1])), "classes are float64"),
    "table of classes": (
        setter(classes=lambda _: np.array([["a", "b", "c"]] * 2)),
        r"classes have shape \(2, 3\); needed: one for each class",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_arrays_that_cannot_be_trained_on(tmp_path: Path, case: str) -> None:
    spoil, message = REFUSED[case]
    made = arrays()
    spoil(made)
    with pytest.raises(ConfigError, match=message):
        found(npz(tmp_path / "set.npz", made))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.path: is not given; dataset=arrays reads"):
        look("")
    with pytest.raises(ConfigError, match=r"gone\.npz: no such file"):
        found(tmp_path / "gone.npz")
    with pytest.raises(ConfigError, match="is a folder; dataset=folder takes pictures"):
        found(tmp_path)
