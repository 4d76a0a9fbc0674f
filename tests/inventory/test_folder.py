"""A folder of pictures, looked at without decoding: order, classes, checksum, and what it is refused for."""

from __future__ import annotations

import os
import shutil
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from own_data import CLASSES, folder, image, save
from PIL import Image
from torchvision.datasets import ImageFolder

from mixbench.errors import ConfigError, DataError
from mixbench.inventory import folder as module
from mixbench.inventory import looking_once
from mixbench.inventory.folder import PictureFolder, look


@pytest.fixture(autouse=True)
def _own_index(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXBENCH_DATA", str(tmp_path_factory.mktemp("index")))


def found(root: Path) -> PictureFolder:
    return look(str(root))


def picture(path: Path, seed: int = 0, shape: tuple[int, int, int] = (10, 8, 3)) -> None:
    save(path, image(np.random.default_rng(seed), 1, shape))


def test_order_classes_and_labels_are_those_of_imagefolder(tmp_path: Path) -> None:
    """Oracle: torchvision.datasets.ImageFolder, with folders below the classes and names that sort in odd ways."""
    root = folder(tmp_path / "set", train=2, test=1)
    for name in (
        "deep/er/0.png",
        "deep-er/1.JPG",
        "deep/2.jpeg",
        "B.bmp",
        "a.webp",
        "ß.png",
        "10.png",
        "9.png",
    ):
        picture(root / "train" / "bee" / name)
    picture(root / "train" / "Zebra" / "x.png")
    here = found(root)
    for part, pictures in (("train", here.train), ("test", here.test)):
        oracle = ImageFolder(str(root / part), allow_empty=True)
        if part == "train":
            assert list(here.classes) == oracle.classes == ["Zebra", *sorted(CLASSES)]
        files = [str(Path(file).relative_to(root)) for file, _ in oracle.samples]
        assert [p.file for p in pictures] == files
        labels = [here.classes.index(oracle.classes[label]) for _, label in oracle.samples]
        assert [p.label for p in pictures] == labels
    assert {(p.height, p.width, p.channels) for p in here.train} == {(10, 8, 3)}


def test_what_is_no_picture_is_left_out_and_hidden_files_are_not_looked_at(tmp_path: Path) -> None:
    root = folder(tmp_path / "set")
    before = found(root)
    for name in ("train/notes.txt", "train/bee/labels.csv", "test/ant/x.tif", "README"):
        (root / name).write_text("")
    for name in ("train/.DS_Store", "train/bee/._00.png", "train/bee/.thumbs/x.png", ".git/config"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("")
    after = found(root)
    assert after.left_out == ("test/ant/x.tif", "train/bee/labels.csv", "train/notes.txt")
    assert (after.train, after.test, after.content) == (before.train, before.test, before.content)


def test_the_content_is_that_of_names_and_bytes_alone(tmp_path: Path) -> None:
    """Property: equal for a copy elsewhere with other times; different after any change of a picture or its place."""
    root = folder(tmp_path / "set")
    content = found(root).content
    copy = tmp_path / "elsewhere" / "with another name"
    shutil.copytree(root, copy, copy_function=shutil.copy)
    os.utime(copy / "train/ant/00.png", (1, 1))
    assert found(copy).content == content

    def changed(change) -> str:
        place = tmp_path / "changed"
        shutil.copytree(root, place)
        change(place)
        after = found(place).content
        shutil.rmtree(place)
        return after

    def one_pixel(place: Path) -> None:
        pixels = np.array(Image.open(place / "train/ant/00.png"))
        pixels[3, 4, 1] ^= 1
        save(place / "train/ant/00.png", pixels)

    changes = [
        one_pixel,
        lambda place: (place / "train/ant/00.png").unlink(),
        lambda place: (place / "train/ant/00.png").rename(place / "train/ant/0.png"),
        lambda place: (place / "train/ant/00.png").rename(place / "train/bee/a.png"),
        lambda place: [(place / part / "ant").rename(place / part / "wasp") for part in ("train", "test")],
        lambda place: shutil.rmtree(place / "test"),
        lambda place: picture(place / "test/ant/new.png"),
    ]
    contents = [changed(change) for change in changes]
    assert len({content, *contents}) == len(changes) + 1


def test_a_file_is_read_again_when_its_size_or_time_changes_and_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limiting cases: nothing changed, a new time, a new picture of the same size and time (which stays unseen)."""
    root = folder(tmp_path / "set")
    long_ago = time.time() - 100
    for path in root.rglob("*.png"):
        os.utime(path, (long_ago, long_ago))
    read: list[str] = []
    header = module._header
    monkeypatch.setattr(module, "_header", lambda path: read.append(path.name) or header(path))

    def looked() -> tuple[str, int]:
        read.clear()
        return found(root).content, len(read)

    content, first = looked()
    assert first == 36
    assert looked() == (content, 0)
    path = root / "train/ant/00.png"
    old = path.read_bytes()
    path.write_bytes(old[:-1] + bytes([old[-1] ^ 1]))  # the checksum of PNG's last chunk, which has no data
    changed, again = looked()
    assert changed != content
    assert again == 1
    assert looked() == (changed, 1)  # changed a moment ago: it may change again without a new time
    os.utime(path, (long_ago + 1, long_ago + 1))
    assert looked() == (changed, 1)
    assert looked() == (changed, 0)


def test_a_damaged_or_unwritable_index_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path / "set")
    for path in root.rglob("*.png"):
        os.utime(path, (1e9, 1e9))
    content = found(root).content
    (index,) = (Path(os.environ["MIXBENCH_DATA"]) / "inventory").iterdir()
    for damage in (b"", b"[1]", b'{"train/ant/00.png": 3}', b"{" * 10_000, index.read_bytes()[:-20]):
        index.write_bytes(damage)
        assert found(root).content == content
    monkeypatch.setenv("MIXBENCH_DATA", str(root / "train/ant/00.png"))
    assert found(root).content == content


def test_everything_is_looked_at_once_in_a_block(tmp_path: Path) -> None:
    root = folder(tmp_path / "set")
    with looking_once():
        before = found(root)
        (root / "train/ant/00.png").unlink()
        with looking_once():
            assert found(root) is before
    assert len(found(root).train) == len(before.train) - 1


@pytest.mark.parametrize(
    ("sizes", "modes", "knobs", "shape"),
    [
        ([(6, 5)], ["L", "1", "LA"], (None, None), (6, 5, 1)),
        ([(6, 5)], ["L", "RGB"], (None, None), (6, 5, 3)),
        ([(6, 5)], ["P", "RGBA"], (None, True), (6, 5, 1)),
        ([(6, 5)], ["L"], (None, False), (6, 5, 3)),
        ([(6, 5), (40, 60)], ["RGB"], (7, None), (7, 7, 3)),
    ],
)
def test_the_shape_that_pictures_will_have(tmp_path: Path, sizes, modes, knobs, shape) -> None:
    for i, mode in enumerate(modes):
        for height, width in sizes:
            for name in "ab":
                path = tmp_path / f"train/{name}/{i}-{height}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new(mode, (width, height)).save(path)
    assert found(tmp_path).shape(*knobs) == shape


def test_pictures_of_different_sizes_need_one(tmp_path: Path) -> None:
    """The message has the examples, and the most common shorter side as a suggestion."""
    root = folder(tmp_path / "set", shape=(40, 32, 3))
    picture(root / "train/ant/tall.png", shape=(64, 20, 3))
    picture(root / "train/bee/wide.png", shape=(20, 64, 3))
    with pytest.raises(ConfigError) as caught:
        found(root).shape(None, None)
    message = str(caught.value)
    assert "3 different sizes (train/ant/00.png has 40x32, train/ant/tall.png has 64x20" in message
    assert "dataset.size=32, for example, makes all of them 32x32" in message


def no_train(root: Path) -> None:
    (root / "train").rename(root / "training")


def one_class(root: Path) -> None:
    for part in ("train", "test"):
        for name in CLASSES[1:]:
            shutil.rmtree(root / part / name)


def empty_class(root: Path) -> None:
    (root / "train/dodo").mkdir()


def only_in_test(root: Path) -> None:
    picture(root / "test/dodo/0.png")


def no_test_pictures(root: Path) -> None:
    for path in (root / "test").rglob("*.png"):
        path.unlink()


def no_pictures(root: Path) -> None:
    for path in (root / "train").rglob("*.png"):
        path.rename(path.with_suffix(".gif"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_train, r"has no folder train \(it has test, training\)\. The layout is DIR/train/CLASS/\*\.png"),
        (one_class, "only the class cat in train"),
        (empty_class, "no pictures of class dodo in train; add some"),
        (only_in_test, "no pictures of class dodo in train, but in test"),
        (no_test_pictures, "no pictures in test; add some, or remove the folder"),
        (no_pictures, "no pictures in train"),
    ],
)
def test_a_layout_that_cannot_be_trained_on(tmp_path: Path, spoil, message: str) -> None:
    root = folder(tmp_path / "set")
    spoil(root)
    with pytest.raises(ConfigError, match=message):
        found(root)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.path: is not given; dataset=folder reads DIR/train"):
        look("")
    with pytest.raises(ConfigError, match="missing: no such folder"):
        found(tmp_path / "missing")
    (tmp_path / "x.npz").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"is a file; dataset=arrays takes \.npz files"):
        found(tmp_path / "x.npz")


def deep_png(path: Path) -> None:
    Image.fromarray(np.full((10, 8), 40_000, np.uint16)).save(path)


def huge_png(path: Path) -> None:
    """A header that claims 60,000 x 60,000 pixels, and nearly nothing behind it."""
    chunks = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0), b"IDAT"
    parts = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(b""), r"train/ant/00\.png: is empty"),
        (lambda path: path.write_text("no"), r"train/ant/00\.png: is neither PNG, JPEG, BMP nor WEBP"),
        (lambda path: Image.new("L", (8, 10)).save(path, "GIF"), "is neither PNG"),
        (deep_png, r"00\.png: has pixels of mode I;16; pictures have 8 bits"),
        (huge_png, r"00\.png: cannot be read \(DecompressionBombError"),
        (lambda path: path.unlink() or path.symlink_to("gone.png"), "No such file"),
        (lambda path: path.unlink() or os.mkfifo(path), "is no regular file"),
        (lambda path: path.unlink() or path.symlink_to(".."), "is a link to a folder that it lies in"),
    ],
)
def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path, spoil, message: str) -> None:
    root = folder(tmp_path / "set")
    spoil(root / "train/ant/00.png")
    with pytest.raises(DataError, match=message):
        found(root)


def test_many_bad_pictures_are_one_message(tmp_path: Path) -> None:
    root = folder(tmp_path / "set")
    for path in (root / "train/ant").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError) as caught:
        found(root)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{root}: 8 pictures cannot be read:"
    assert lines[1:] == [
        *(f"  train/ant/0{i}.png: is empty" for i in range(5)),
        "  and 3 more",
        "Mend or remove them; nothing is trained on the others alone.",
    ]
