"""The random resized crop of photographs: which part of a picture is cut out and resized to the input's size.

Szegedy et al., Going Deeper with Convolutions, CVPR 2015, section 6; as torchvision's RandomResizedCrop draws it.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

TRIES = 10  # as in torchvision: boxes that would stick out are drawn again
RATIO = 3 / 4, 4 / 3  # width / height of the box, uniform in its logarithm

Box = tuple[int, int, int, int]


def generator(seed: int, step: int, row: int) -> np.random.Generator:
    """What the crop of one example is drawn from: nothing but its place in training, whoever decodes it."""
    return np.random.default_rng((seed, step, row))


def random_box(random: np.random.Generator, width: int, height: int, area: tuple[float, float]) -> Box:
    """(left, top, right, bottom) in pixels of a picture: a share of its area that is uniform in `area`.

    After TRIES boxes that do not fit it is the largest one in the middle whose ratio is in RATIO.
    """
    for _ in range(TRIES):
        pixels = width * height * random.uniform(*area)
        ratio = math.exp(random.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        w, h = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(random.integers(height - h + 1)), int(random.integers(width - w + 1))
            return left, top, left + w, top + h
    w = min(width, round(height * RATIO[1]))
    h = min(height, round(width / RATIO[0]))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def resized_crop(picture: Image.Image, box: Box, size: int) -> Image.Image:
    """The part of the picture in the box, resized to a square of `size` pixels, antialiased."""
    return picture.crop(box).resize((size, size), Image.Resampling.BILINEAR)


def centre(picture: Image.Image, size: int, resize: int) -> Image.Image:
    """Resize(resize) of the shorter side and CenterCrop(size), as torchvision's."""
    width, height = picture.size
    if width <= height:
        width, height = resize, int(resize * height / width)
    else:
        width, height = int(resize * width / height), resize
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return picture.crop((left, top, left + size, top + size))
