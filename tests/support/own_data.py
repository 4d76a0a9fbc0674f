"""Pictures and arrays as a user may have them, for the tests of `dataset=folder` and `dataset=arrays`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASSES = ("cat", "ant", "bee")


def image(random: np.random.Generator, label: int, shape: Sequence[int]) -> NDArray[np.uint8]:
    """Noise around a brightness that tells the class."""
    return np.clip(random.normal(50 + 60 * label, 30, shape), 0, 255).astype(np.uint8)


def save(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write uint8 (H, W, C) as a picture; its name says in which format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(path)


def folder(
    root: Path, train: int = 8, test: int = 4, shape: Sequence[int] = (10, 8, 3), seed: int = 0
) -> Path:
    """So many pictures of each class, without loss; CLASSES are not in alphabetical order."""
    random = np.random.default_rng(seed)
    for part, count in (("train", train), ("test", test)):
        for label, name in enumerate(CLASSES):
            for i in range(count):
                save(root / part / name / f"{i:02}.png", image(random, label, shape))
    return root


def arrays(
    train: int = 24, test: int = 12, shape: Sequence[int] = (10, 8, 3), seed: int = 0
) -> dict[str, NDArray]:
    """What an .npz file holds, three classes by turns."""
    random = np.random.default_rng(seed)
    made: dict[str, NDArray] = {}
    for part, count in (("train", train), ("test", test)):
        labels = np.arange(count) % 3
        made[f"{part}_images"] = np.stack([image(random, k, shape) for k in labels])
        made[f"{part}_labels"] = labels
    return made


def npz(path: Path, made: dict[str, NDArray], compressed: bool = False) -> Path:
    """Write the arrays into an .npz file."""
    (np.savez_compressed if compressed else np.savez)(path, **made)
    return path


def shards(root: Path, out: Path) -> Path:
    """The pictures of a folder as webdataset writes them, five in a shard."""
    import webdataset

    out.mkdir()
    for part in ("train", "test"):
        with webdataset.ShardWriter(str(out / f"{part}-%06d.tar"), maxcount=5, verbose=0) as writer:
            for path in sorted((root / part).glob("*/*.png")):
                label = sorted(CLASSES).index(path.parent.name)
                key = f"{path.parent.name}/{path.stem}"
                writer.write({"__key__": key, "png": path.read_bytes(), "cls": label})
    return out
