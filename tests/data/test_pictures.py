"""Pictures that are decoded where they are looked at."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from own_data import folder, save
from PIL import Image
from torchvision import transforms
from torchvision.datasets.folder import default_loader

from mixbench.data.own import load_folder
from mixbench.data.pictures import Pictures, decode
from mixbench.errors import DataError
from mixbench.schema.own import Folder


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    option = Folder(base_augment=True, crop_padding=0, flip=False, path=str(folder(tmp_path / "set")))
    inputs = load_folder(option, tmp_path / "data").train.inputs
    assert isinstance(inputs, Pictures)
    return inputs


def a_picture(mode: str, width: int, height: int) -> Image.Image:
    random = np.random.default_rng(3)
    smooth = Image.fromarray(random.integers(0, 256, (6, 6, 4), dtype=np.uint8), "RGBA").resize(
        (width, height)
    )
    if mode == "P, transparent":
        picture = smooth.convert("RGB").quantize(20)
        picture.info["transparency"] = bytes(range(20))
        return picture
    return smooth.quantize(20, method=Image.Quantize.FASTOCTREE) if mode == "P" else smooth.convert(mode)


FORMATS = {
    "PNG": ["L", "1", "LA", "P", "P, transparent", "RGB", "RGBA"],
    "JPEG": ["L", "RGB", "CMYK"],
    "BMP": ["L", "RGB"],
    "WEBP": ["RGB", "RGBA"],
}


@pytest.mark.parametrize(("form", "mode"), [(f, m) for f, modes in FORMATS.items() for m in modes])
@pytest.mark.parametrize("size", [None, 7, 16])
def test_decoding_is_that_of_torchvision(tmp_path: Path, form: str, mode: str, size: int | None) -> None:
    """Oracle: torchvision's loader of ImageFolder, Grayscale, Resize and CenterCrop, for tall and wide pictures."""
    for width, height in ((13, 9), (9, 14), (10, 10), (31, 7)):
        path = tmp_path / f"x.{form.lower()}"
        a_picture(mode, width, height).save(path, form)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of transparent palettes
            colour = default_loader(str(path))
            grey = Image.open(path).convert("L")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = decode(path.read_bytes(), 3, size), decode(path.read_bytes(), 1, size)
        steps = [] if size is None else [transforms.Resize(size), transforms.CenterCrop(size)]
        for pixels, oracle in zip(found, (colour, grey), strict=True):
            expected = transforms.Compose([*steps, transforms.PILToTensor()])(oracle)
            np.testing.assert_array_equal(pixels, expected.permute(1, 2, 0))


def test_it_is_indexed_as_an_array(pictures: Pictures) -> None:
    """Oracle: numpy's indexing of all decoded pictures, which are lossless here."""
    whole = np.stack([np.asarray(Image.open(pictures.folder / file)) for file in pictures.files])
    np.testing.assert_array_equal(np.asarray(pictures), whole)
    assert (pictures.shape, pictures.dtype, pictures.ndim, len(pictures)) == (
        whole.shape,
        whole.dtype,
        4,
        len(whole),
    )
    random = np.random.default_rng(0)
    for where in (
        0,
        -1,
        slice(3, 9),
        slice(None, None, -2),
        random.permutation(24)[:7],
        torch.tensor([3, 3, 1]).numpy(),
    ):
        np.testing.assert_array_equal(pictures[where], whole[where])
    order = random.permutation(24)[:9]
    np.testing.assert_array_equal(pictures.take(order)[2:5], whole[order][2:5])
    with pytest.raises(IndexError):
        pictures[24]


def test_the_key_names_the_pixels(pictures: Pictures) -> None:
    """Property: the same for the same files in the same order, decoded in the same way; else another."""
    same = Pictures(Path("elsewhere"), ["x"] * 24, pictures.sha256.copy(), pictures.image_shape, None)
    order = np.arange(24)[::-1].copy()
    others = [
        pictures.take(order),
        pictures.take(order[1:]),
        Pictures(pictures.folder, pictures.files, pictures.sha256, (10, 8, 1), None),
        Pictures(pictures.folder, pictures.files, pictures.sha256, pictures.image_shape, 10),
    ]
    assert pictures.key == same.key == pictures.take(np.arange(24)).key
    assert len({pictures.key, *(other.key for other in others)}) == 5


def jpeg(path: Path, cut: int = 0) -> None:
    file = io.BytesIO()
    Image.open(path).save(file, "JPEG")
    path.write_bytes(file.getvalue()[: len(file.getvalue()) - cut])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "No such file or directory"),
        (jpeg, "is not the picture any more that it was when the run was set up"),
    ],
)
def test_a_picture_that_is_not_what_it_was_is_named(pictures: Pictures, spoil, message: str) -> None:
    path = pictures.folder / pictures.files[5]
    spoil(path)
    with pytest.raises(DataError, match=f"{path}: {message}"):
        pictures[3:8]
    pictures[6:8]


def test_a_picture_that_ends_too_soon_is_named(tmp_path: Path) -> None:
    """Its header is whole, so it is found when it is decoded."""
    root = folder(tmp_path / "set")
    path = root / "train/ant/03.png"
    save(path.with_suffix(".bmp"), np.random.default_rng(0).integers(0, 256, (10, 8, 3), dtype=np.uint8))
    path.unlink()
    path = path.with_suffix(".bmp")
    path.write_bytes(path.read_bytes()[:-40])
    option = Folder(base_augment=True, crop_padding=0, flip=False, path=str(root))
    with pytest.raises(DataError, match=rf"{path}: cannot be decoded \(OSError: image file is truncated"):
        load_folder(option, tmp_path / "data").train.inputs[:]
