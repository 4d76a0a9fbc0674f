"""Corrupted images: see `corruptions` for the source. Images are float64 (N, H, W, C) in [0, 1], C 1 or 3."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from mixbench.analysis.corruptions import SEVERITIES
from mixbench.analysis.displace import (
    Images,
    elastic_transform,
    gaussian,
    glass_blur,
    motion_blur,
    zoom_blur,
)
from mixbench.analysis.weather import fog, snow


def corrupted(pixels: NDArray[np.uint8], name: str, severity: int, generator: Generator) -> NDArray[np.uint8]:
    """`pixels` (N, H, W, C) under the corruption `name` of a severity from 1 to 5, cut to bytes as in CIFAR-10-C.

    Numbers are drawn image after image, so that a set may come in parts, from one generator.
    """
    amount = SEVERITIES[name][severity - 1]
    amounts = amount if isinstance(amount, tuple) else (amount,)
    changed = CORRUPTIONS[name](pixels / 255, generator, *amounts)
    # A byte that came through a division and a product by 255 is itself again.
    return (changed.clip(0, 1) * 255 + 1e-6).astype(np.uint8)


def _gaussian_noise(images: Images, generator: Generator, deviation: float) -> Images:
    return images + deviation * generator.standard_normal(images.shape)


def _shot_noise(images: Images, generator: Generator, photons: float) -> Images:
    return generator.poisson(images * photons) / photons


def _impulse_noise(images: Images, generator: Generator, share: float) -> Images:
    """As skimage's salt and pepper: one or the other with equal probability, of each channel alone."""
    drawn = generator.random(images.shape)
    return np.where(drawn < share / 2, 0.0, np.where(drawn > 1 - share / 2, 1.0, images))


def _speckle_noise(images: Images, generator: Generator, deviation: float) -> Images:
    return images + images * deviation * generator.standard_normal(images.shape)


def _gaussian_blur(images: Images, _: Generator, deviation: float) -> Images:
    return gaussian(images, deviation)


def _defocus_blur(images: Images, _: Generator, radius: float, blur: float) -> Images:
    """A disk that is smoothed by a Gaussian of 3x3; the border mirrored, as OpenCV does."""
    place = np.arange(-8, 9)
    disk = (place[:, None] ** 2 + place**2 <= radius**2).astype(float)
    side = np.exp(-(np.arange(-1, 2) ** 2) / (2 * blur**2))
    smooth = np.outer(side, side) / side.sum() ** 2
    kernel = ndimage.convolve(disk / disk.sum(), smooth)
    return ndimage.correlate(images, kernel[None, :, :, None], mode="mirror")


def _in_hsv(images: Images, channel: int, change: Callable[[Images], Images]) -> Images:
    hsv = rgb_to_hsv(np.broadcast_to(images, (*images.shape[:3], 3)))
    hsv[..., channel] = change(hsv[..., channel]).clip(0, 1)
    return hsv_to_rgb(hsv)[..., : images.shape[3]]


def _brightness(images: Images, _: Generator, more: float) -> Images:
    return _in_hsv(images, 2, lambda value: value + more)


def _saturate(images: Images, _: Generator, factor: float, more: float) -> Images:
    return _in_hsv(images, 1, lambda saturation: saturation * factor + more)


def _contrast(images: Images, _: Generator, factor: float) -> Images:
    mean = images.mean((1, 2), keepdims=True)
    return (images - mean) * factor + mean


def _pixelate(images: Images, _: Generator, factor: float) -> Images:
    height, width = images.shape[1:3]
    small = max(1, int(width * factor)), max(1, int(height * factor))

    def smaller(picture: Image.Image) -> Image.Image:
        box = Image.Resampling.BOX
        return picture.resize(small, box).resize((width, height), box)

    return _each(images, smaller)


def _jpeg_compression(images: Images, _: Generator, quality: float) -> Images:
    def compressed(picture: Image.Image) -> Image.Image:
        content = io.BytesIO()
        picture.save(content, "JPEG", quality=int(quality))
        return Image.open(content)

    return _each(images, compressed)


def _each(images: Images, change: Callable[[Image.Image], Image.Image]) -> Images:
    """The images as pictures of Pillow, one by one, and back."""
    pixels = np.rint(images * 255).astype(np.uint8)
    pictures = [change(Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)) for image in pixels]
    return np.stack([np.asarray(picture).reshape(images.shape[1:]) for picture in pictures]) / 255


CORRUPTIONS: dict[str, Callable[..., Images]] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "speckle_noise": _speckle_noise,
    "gaussian_blur": _gaussian_blur,
    "defocus_blur": _defocus_blur,
    "glass_blur": glass_blur,
    "motion_blur": motion_blur,
    "zoom_blur": zoom_blur,
    "snow": snow,
    "fog": fog,
    "brightness": _brightness,
    "contrast": _contrast,
    "saturate": _saturate,
    "elastic_transform": elastic_transform,
    "pixelate": _pixelate,
    "jpeg_compression": _jpeg_compression,
}
