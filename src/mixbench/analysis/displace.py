"""Corruptions that move pixels: see `corruptions` for the source. Images are float64 (N, H, W, C) in [0, 1].

Each draws its numbers image after image, so that a set may come in parts.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

Images = NDArray[np.float64]


def gaussian(images: Images, deviation: float) -> Images:
    """(N, H, W, ...) blurred as skimage's gaussian does: cut at four deviations, the border repeated."""
    return ndimage.gaussian_filter(
        images, (0, deviation, deviation, *[0] * (images.ndim - 3)), mode="nearest"
    )


def glass_blur(images: Images, generator: Generator, deviation: float, times: float) -> Images:
    """Blurred, each pixel but those of the first two rows and columns replaced by one of itself, its upper, left, and
    upper left neighbour, `times` times, and blurred again.

    The authors mean to exchange the two pixels; their line of NumPy, whose views share memory, copies one to the
    other, and CIFAR-10-C was made so.
    """
    height, width = images.shape[1:3]
    moved = np.floor(gaussian(images, deviation).clip(0, 1) * 255 + 1e-6) / 255
    up, left = -generator.integers(0, 2, (len(images), int(times), height - 2, width - 2, 2)).transpose(
        4, 1, 0, 2, 3
    )
    image, row, column = np.ogrid[: len(images), 2:height, 2:width]
    for i in range(int(times)):
        # Each source lies above or left of its pixel, which the authors' loop from the last to the first has not
        # reached yet: all pixels are replaced at once.
        moved[:, 2:, 2:] = moved[image, row + up[i], column + left[i]]
    return gaussian(moved, deviation)


def motion(images: Images, angles: NDArray[np.float64], radius: float, deviation: float) -> Images:
    """Each image smeared along a line at its angle (N,), in degrees clockwise from a row's direction to the right.

    As ImageMagick's motion blur: weights of half a Gaussian on 2 radius + 1 pixels from the pixel on, places rounded
    to whole pixels, those outside the image repeat the border.
    """
    height, width = images.shape[1:3]
    taps = np.arange(2 * int(np.ceil(radius)) + 1)
    weights = np.exp(-(taps**2) / (2 * deviation**2))
    radians = np.deg2rad(angles)
    image, row, column = np.ogrid[: len(images), :height, :width]
    smeared = np.zeros_like(images)
    for tap, weight in zip(taps, weights / weights.sum(), strict=True):
        right, down = (
            np.ceil(tap * part - 0.5).astype(int)[:, None, None]
            for part in (np.cos(radians), np.sin(radians))
        )
        smeared += (
            weight * images[image, (row + down).clip(0, height - 1), (column + right).clip(0, width - 1)]
        )
    return smeared


def motion_blur(images: Images, generator: Generator, radius: float, deviation: float) -> Images:
    return motion(images, generator.uniform(-45, 45, len(images)), radius, deviation)


def enlarged(images: Images, factor: float) -> Images:
    """(N, H, W, C): the middle, `factor` times as large, in the same number of pixels; linear interpolation."""
    rows, columns = (_enlarging(side, factor) for side in images.shape[1:3])
    return (rows @ images.transpose(0, 3, 1, 2) @ columns.T).transpose(0, 2, 3, 1)


def _enlarging(side: int, factor: float) -> NDArray[np.float64]:
    """What `enlarged` does along an axis, as a matrix (side, side). Its ends lie on those of the cut part, as in
    scipy's zoom, which the authors use.
    """
    kept = int(np.ceil(side / factor))
    first = (side - kept) // 2
    large = ndimage.zoom(np.eye(side)[first : first + kept], (factor, 1), order=1)
    cut = (len(large) - side) // 2
    return large[cut : cut + side]


def zoom_blur(images: Images, _: Generator, end: float) -> Images:
    """The mean of the image and of its enlargements by 1, 1.01, ... up to `end`."""
    factors = np.arange(1, end, 0.01)  # as the authors have it, whose rounding decides on the last one
    return (images + sum(enlarged(images, factor) for factor in factors)) / (len(factors) + 1)


def elastic_transform(
    images: Images, generator: Generator, far: float, smooth: float, affine: float
) -> Images:
    """An affine map that moves three points by up to `affine`, then each pixel moved by a smoothed random field, of
    deviation `smooth`, times `far`; all in sides of the image.
    """
    height, width = images.shape[1:3]
    side = min(height, width)
    middle, arm = np.array([width // 2, height // 2]), side // 3
    points = middle + arm * np.array([[1, 1], [1, -1], [-1, -1]])
    drawn = generator.uniform(-1, 1, (len(images), 6 + 2 * height * width))
    moved = points + affine * side * drawn[:, :6].reshape(-1, 3, 2)
    fields = drawn[:, 6:].reshape(-1, height, width)
    fields = ndimage.gaussian_filter(fields, (0, smooth * side, smooth * side), mode="reflect", truncate=3)
    fields = (far * side * fields).reshape(-1, 2, height, width)
    place = np.indices((height, width))
    changed = np.empty_like(images)
    for n, image in enumerate(images):
        # The map of the places in the result to those in the image: it takes the moved points to the points.
        to, source = np.column_stack([moved[n], np.ones(3)]), points
        linear = np.linalg.solve(to, source)
        x, y = np.einsum("dhw,dk->khw", np.stack([place[1], place[0], np.ones_like(place[0])]), linear)
        for channel in range(image.shape[2]):
            bent = ndimage.map_coordinates(image[..., channel], [y, x], order=1, mode="mirror")
            changed[n, ..., channel] = ndimage.map_coordinates(
                bent, [place[0] + fields[n, 1], place[1] + fields[n, 0]], order=1, mode="reflect"
            )
    return changed
