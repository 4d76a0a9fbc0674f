"""Fog and snow: see `corruptions` for the source. Images are float64 (N, H, W, C) in [0, 1].

Each draws its numbers image after image, so that a set may come in parts.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mixbench.analysis.displace import Images, enlarged, motion

GREY = (0.299, 0.587, 0.114)  # weights of red, green and blue (ITU-R BT.601)


def fog(images: Images, generator: Generator, thickness: float, decay: float) -> Images:
    """A plasma in [0, 1] times `thickness` is added, and the sum scaled to what the image's largest value allows."""
    height, width = images.shape[1:3]
    side = 1 << (max(height, width) - 1).bit_length()
    cloud = thickness * plasma(len(images), side, decay, generator)[:, :height, :width, None]
    brightest = images.max((1, 2, 3), keepdims=True)
    return (images + cloud) * brightest / (brightest + thickness)


def plasma(n: int, side: int, decay: float, generator: Generator) -> NDArray[np.float64]:
    """Fractals (n, side, side) in [0, 1], by the diamond-square algorithm on a torus; `side` is a power of 2.

    The middle of each square is the mean of its corners plus a random number, then that of each edge the mean of its
    four neighbours plus one; at half the distance the numbers are smaller by `decay` squared, as in the authors' code,
    which multiplies uniform numbers by the size that they have already.
    """
    noise = generator.uniform(-1, 1, (n, side * side - 1))
    height, step, size = np.zeros((n, side, side)), side, 1.0
    while step > 1:
        half, count = step // 2, (side // step) ** 2
        parts, noise = np.split(noise[:, : 3 * count], 3, axis=1), noise[:, 3 * count :]
        middle, across, down = (size * part.reshape(n, side // step, side // step) for part in parts)
        corners = height[:, ::step, ::step]
        right, below = np.roll(corners, -1, 2), np.roll(corners, -1, 1)
        middle += (corners + right + below + np.roll(right, -1, 1)) / 4
        across += (corners + right + middle + np.roll(middle, 1, 1)) / 4
        down += (corners + below + middle + np.roll(middle, 1, 2)) / 4
        height[:, half::step, half::step] = middle
        height[:, ::step, half::step] = across
        height[:, half::step, ::step] = down
        step, size = half, size / decay**2
    height -= height.min((1, 2), keepdims=True)
    return height / height.max((1, 2), keepdims=True)


def snow(
    images: Images,
    generator: Generator,
    mean: float,
    deviation: float,
    zoom: float,
    threshold: float,
    radius: float,
    blur: float,
    colour: float,
) -> Images:
    """Flakes, which are Gaussian noise enlarged, cut below a threshold and smeared downwards, are added twice, once
    turned by half a circle; the image keeps the share `colour` of its colours, and is whitened in the rest.
    """
    height, width = images.shape[1:3]
    drawn = [
        (generator.standard_normal((height, width)), generator.uniform(-135, -45)) for _ in range(len(images))
    ]
    flakes = enlarged(mean + deviation * np.stack([noise for noise, _ in drawn])[..., None], zoom)
    flakes = np.where(flakes < threshold, 0, flakes).clip(0, 1)
    flakes = motion(np.floor(flakes * 255) / 255, np.array([angle for _, angle in drawn]), radius, blur)
    grey = images @ np.array(GREY)[:, None] if images.shape[3] == 3 else images
    white = colour * images + (1 - colour) * np.maximum(images, 1.5 * grey + 0.5)
    return white + flakes + flakes[:, ::-1, ::-1]
