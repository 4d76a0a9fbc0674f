"""Loading a folder or an .npz file: parts, subsets, placement, and what is kept on the disk."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from own_data import arrays, folder, npz
from PIL import Image

from mixbench import data
from mixbench.data import place
from mixbench.data.images import ImageSet
from mixbench.data.own import load_arrays, load_folder
from mixbench.data.pictures import Pictures
from mixbench.data.statistics import channel_statistics
from mixbench.data.stream import StreamedImages
from mixbench.errors import ConfigError, DataError
from mixbench.schema.own import Arrays, Folder

CPU = torch.device("cpu")
AUGMENT = {"base_augment": True, "crop_padding": 0, "flip": False}


def pictures(root: Path, **knobs) -> Folder:
    return Folder(**AUGMENT, path=str(root), workers=0, **knobs)


def file(path: Path, **knobs) -> Arrays:
    return Arrays(**AUGMENT, path=str(path), **knobs)


def decoded(root: Path, part: str) -> np.ndarray:
    """All pictures of a part, class by class in alphabetical order."""
    return np.stack([np.asarray(Image.open(path)) for path in sorted((root / part).glob("*/*.png"))])


@pytest.mark.parametrize("stream", [True, False, None])
def test_a_folder_is_the_pictures_in_it(
    tmp_path: Path, stream: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: Pillow, file by file; the second time nothing is decoded that is not streamed."""
    root = folder(tmp_path / "set")
    for again in (False, True):
        splits = data.of_option(pictures(root, stream=stream), tmp_path / "data", CPU)
        for part, split, n in (("train", splits.train, 8), ("test", splits.test, 4)):
            assert isinstance(split.inputs, Pictures) == bool(stream)
            np.testing.assert_array_equal(np.asarray(split.inputs), decoded(root, part))
            assert split.labels.tolist() == [0] * n + [1] * n + [2] * n
            assert split.labels.dtype == np.int64
        assert splits.spec.classes == ("ant", "bee", "cat")
        assert (splits.spec.train_size, splits.spec.test_size, splits.spec.shape) == (24, 12, (10, 8, 3))
        assert splits.streamed == ("dataset.stream=true" if stream else "")
        assert channel_statistics(splits.train.inputs) == channel_statistics(decoded(root, "train"))
        if not again and not stream:
            monkeypatch.delattr(Pictures, "_decoded")
        assert splits.note == ""


def test_a_test_part_can_be_held_out(tmp_path: Path) -> None:
    """Stratified, disjoint, of the share that was asked for, the same for a folder and for arrays, streamed or not."""
    root = folder(tmp_path / "set", train=10)
    shutil.rmtree(root / "test")
    images = decoded(root, "train")
    path = npz(tmp_path / "set.npz", {"images": images, "labels": np.repeat(["ant", "bee", "cat"], 10)})
    made = [
        load_folder(pictures(root, test_share=0.2, val_size=3), tmp_path / "data"),
        data.of_option(pictures(root, test_share=0.2, val_size=3), tmp_path / "data", CPU),
        load_arrays(file(path, test_share=0.2, val_size=3), tmp_path / "data"),
    ]
    for splits in made:
        assert np.bincount(splits.test.labels).tolist() == [2, 2, 2]
        assert np.bincount(splits.val.labels).tolist() == [1, 1, 1]
        assert np.bincount(splits.train.labels).tolist() == [7, 7, 7]
        parts = [
            {image.tobytes() for image in np.asarray(s.inputs)}
            for s in (splits.train, splits.val, splits.test)
        ]
        assert set.union(*parts) == {image.tobytes() for image in images}
        for part, first in zip((splits.train, splits.test), (made[0].train, made[0].test), strict=True):
            np.testing.assert_array_equal(np.asarray(part.inputs), np.asarray(first.inputs))
            np.testing.assert_array_equal(part.labels, first.labels)
    for option in (pictures(root), file(path)):
        with pytest.raises(
            ConfigError, match=r"has no test part\. dataset\.test_share=0\.2 holds out a fifth"
        ):
            option.spec()
    with pytest.raises(ConfigError, match=r"test_share=0\.001: is 0 of 30 images"):
        pictures(root, test_share=0.001).spec()
    with pytest.raises(ConfigError, match=r"test_share=0\.95: leaves no image of class"):
        load_folder(pictures(root, test_share=0.95), tmp_path / "data")
    with pytest.raises(ConfigError, match=r"test_share=0\.2: .* has a test part"):
        pictures(folder(tmp_path / "whole"), test_share=0.2).spec()


@pytest.mark.parametrize("kind", ["f8", "f2", ">f4"])
def test_floats_become_float32(tmp_path: Path, kind: str) -> None:
    """Oracle: astype."""
    made = arrays()
    for name in ("train_images", "test_images"):
        made[name] = (made[name] / 100 - 1).astype(kind)
    splits = load_arrays(file(npz(tmp_path / "set.npz", made)), tmp_path / "data")
    for name, split in (("train", splits.train), ("test", splits.test)):
        assert split.inputs.dtype == np.float32
        np.testing.assert_array_equal(split.inputs, made[f"{name}_images"].astype(np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_floats_that_are_not_finite(tmp_path: Path, bad: float) -> None:
    made = arrays()
    for name in ("train_images", "test_images"):
        made[name] = made[name].astype(float)
    made["test_images"][7, 3, 2, 1] = bad
    with pytest.raises(
        DataError, match=r"set\.npz: test_images\[7\] is not finite: it has NaN, or numbers beyond"
    ):
        load_arrays(file(npz(tmp_path / "set.npz", made)), tmp_path / "data")


def test_what_a_reader_should_know(tmp_path: Path) -> None:
    root = folder(tmp_path / "set")
    for i in range(7):
        (root / f"train/ant/{i}.tif").write_text("")
    note = load_folder(pictures(root), tmp_path / "data").note
    assert note == (
        "left out, files that are no pictures by their names: train/ant/0.tif, train/ant/1.tif, train/ant/2.tif,"
        " train/ant/3.tif, train/ant/4.tif and 2 more"
    )
    made = arrays(shape=(1, 8, 8)) | {"mean": np.zeros(3)}
    note = load_arrays(file(npz(tmp_path / "set.npz", made)), tmp_path / "data").note
    assert note == (
        "left out, arrays that are not asked for: mean; images of 1x8x8 look like channels first;"
        " what is read is (N, H, W, C)"
    )


def test_content_that_has_changed_since_the_check(tmp_path: Path) -> None:
    root = folder(tmp_path / "set")
    option = pictures(root).resolved(tmp_path / "data")
    (root / "train/ant/00.png").unlink()
    with pytest.raises(DataError, match=rf"was changed since the run was set up.*expected {option.content}"):
        load_folder(option, tmp_path / "data")


def test_sets_that_do_not_fit_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule: more than half of the free memory, counted with the padding of the crops."""
    root = folder(tmp_path / "set")
    needed = 36 * 14 * 12 * 3
    for option, free, expected in (
        (pictures(root), 2 * needed, ""),
        (pictures(root), 2 * needed - 1, "0.0 MiB are more than half of this machine's free memory, 0.0 MiB"),
        (pictures(root, stream=False), 1, ""),
        (pictures(root, stream=True), 10**12, "dataset.stream=true"),
    ):
        monkeypatch.setattr(
            place, "free_memory", lambda device, free=free: (free, "this machine's free memory")
        )
        option.crop_padding = 2
        splits = data.of_option(option, tmp_path / "data", CPU)
        assert splits.streamed == expected
        assert isinstance(splits.train.inputs, Pictures) == bool(expected)
        how = {"mean": [0.5] * 3, "std": [0.5] * 3}
        made = data.examples(splits.train, streamed=bool(splits.streamed), **how)
        assert type(made) is (StreamedImages if expected else ImageSet)


def test_a_picture_that_cannot_be_decoded_is_found_before_training(tmp_path: Path) -> None:
    """Streamed or not, and in the test part, too."""
    root = folder(tmp_path / "set")
    pixels = np.asarray(Image.open(root / "test/bee/01.png"))
    (root / "test/bee/01.png").unlink()
    path = root / "test/bee/01.bmp"
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[:-40])
    for stream in (True, False):
        with pytest.raises(DataError, match=f"{path}: cannot be decoded"):
            data.of_option(pictures(root, stream=stream), tmp_path / "data", CPU)
    assert not list((tmp_path / "data/pictures").glob(".*"))


@pytest.mark.parametrize("stream", [True, False])
def test_damaged_leftovers_are_made_anew(tmp_path: Path, stream: bool) -> None:
    """Property: whatever lies in the cache, what is loaded is what the files hold."""
    root = folder(tmp_path / "set")
    place = tmp_path / "data/pictures"

    def check() -> None:
        splits = data.of_option(pictures(root, stream=stream), tmp_path / "data", CPU)
        np.testing.assert_array_equal(np.asarray(splits.train.inputs), decoded(root, "train"))
        assert channel_statistics(splits.train.inputs) == channel_statistics(decoded(root, "train"))

    check()
    paths = [path for path in place.iterdir() if path.suffix in (".npy", ".npz", ".json")]
    assert len(paths) == (2 if stream else 4)
    for path in paths:
        whole = path.read_bytes()
        for damage in (b"", whole[:-7], whole[:20] + bytes([whole[20] ^ 1]) + whole[21:], None):
            path.write_bytes(damage) if damage is not None else path.unlink()
            check()
        if path.suffix == ".json":
            path.write_text(json.dumps([1]))
            check()


@pytest.mark.parametrize("stream", [True, False])
def test_where_nothing_can_be_written(
    tmp_path: Path, stream: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file where the data folder should be stands for all that cannot be written."""
    monkeypatch.setattr(logging.getLogger("mixbench"), "propagate", True)
    root = folder(tmp_path / "set")
    (tmp_path / "data").write_text("")
    splits = data.of_option(pictures(root, stream=stream), tmp_path / "data", CPU)
    np.testing.assert_array_equal(np.asarray(splits.train.inputs), decoded(root, "train"))
    assert "the pictures are decoded at every start" in caplog.text


def test_every_published_set_and_both_own_kinds_have_a_loader() -> None:
    """Oracle: the option files."""
    names = {path.stem for path in (Path(__file__).parents[2] / "conf/dataset").glob("*.yaml")}
    assert set(data.LOADERS) == names
