"""Corrupted images, against closed forms, brute force, and Pillow."""

from __future__ import annotations

import colorsys
import io
import itertools
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from small_networks import Small, images, networks

from mixbench.analysis.corrupted import corruptions
from mixbench.analysis.corruptions import KINDS, SEVERITIES
from mixbench.analysis.degrade import CORRUPTIONS, corrupted
from mixbench.analysis.displace import enlarged, motion
from mixbench.analysis.weather import plasma
from mixbench.errors import DataError


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def pixels(n: int = 4, side: int = 32, channels: int = 3, seed: int = 0) -> np.ndarray:
    smooth = rng(seed).random((n, side // 4, side // 4, channels)).repeat(4, 1).repeat(4, 2)
    return (255 * (smooth + 0.2 * rng(seed + 1).random((n, side, side, channels))).clip(0, 1)).astype(
        np.uint8
    )


# Of these the authors' constants do not grow together: severity 4 of glass moves pixels twice but blurs them less.
UNEVEN = ("saturate", "pixelate", "glass_blur", "snow", "elastic_transform")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", KINDS)
def test_parts_of_a_set_are_the_whole(name: str, channels: int) -> None:
    """Oracle: the set at once. What is drawn depends on the image's place alone, and the shape stays."""
    given = pixels(5, channels=channels)
    generator = rng(3)
    parts = [corrupted(part, name, 3, generator) for part in (given[:2], given[2:3], given[3:])]
    whole = corrupted(given, name, 3, rng(3))
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert (whole.shape, whole.dtype) == (given.shape, np.uint8)


@pytest.mark.parametrize("name", [name for name in KINDS if name not in UNEVEN])
def test_severities_grow(name: str) -> None:
    """The mean squared distance from the images grows with the severity; saturation falls first, then rises, and
    larger pixels may fit what is in the image better.
    """
    given = pixels(20)
    distance = [((corrupted(given, name, s, rng()).astype(float) - given) ** 2).mean() for s in range(1, 6)]
    assert distance == sorted(distance)
    assert distance[0] < distance[4]


@pytest.mark.parametrize("severity", range(1, 6))
def test_moments_of_noise(severity: int) -> None:
    """Closed forms at a grey of 0.5: variances c^2, 0.5 / c of Poisson numbers over c, and (c / 2)^2 of speckle; the
    share c of impulses, half of them white.
    """
    grey = np.full((40, 32, 32, 3), 0.5)
    noise = {name: CORRUPTIONS[name](grey, rng(), SEVERITIES[name][severity - 1]) for name in KINDS[:4]}
    c = {name: SEVERITIES[name][severity - 1] for name in KINDS[:4]}
    expected = {
        "gaussian_noise": c["gaussian_noise"] ** 2,
        "shot_noise": 0.5 / c["shot_noise"],
        "speckle_noise": c["speckle_noise"] ** 2 / 4,
        "impulse_noise": c["impulse_noise"] / 4,
    }
    for name, variance in expected.items():
        assert noise[name].mean() == pytest.approx(0.5, abs=0.005)
        assert noise[name].var() == pytest.approx(variance, rel=0.06), name
    assert set(np.unique(noise["impulse_noise"])) == {0, 0.5, 1}


def test_blurs() -> None:
    """Closed forms: constants stay; the blurred middle pixel sums to 1 and has the variance of the Gaussian; a disk of
    radius 1 that is hardly blurred is a cross of five equal pixels.
    """
    point = np.zeros((1, 31, 31, 1))
    point[0, 15, 15] = 1
    place = np.arange(31) - 15
    for name in ("gaussian_blur", "defocus_blur"):
        for amount in SEVERITIES[name]:
            amounts = amount if isinstance(amount, tuple) else (amount,)
            np.testing.assert_allclose(CORRUPTIONS[name](np.full((1, 9, 9, 3), 0.3), rng(), *amounts), 0.3)
            assert CORRUPTIONS[name](point, rng(), *amounts).sum() == pytest.approx(1)
    blurred = CORRUPTIONS["gaussian_blur"](point, rng(), 1.0)[0, :, :, 0]
    assert blurred.sum(0) @ place**2 == pytest.approx(1, rel=0.01)
    cross = CORRUPTIONS["defocus_blur"](point, rng(), 1.0, 0.2)[0, 14:17, 14:17, 0]
    np.testing.assert_allclose(cross, np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]]) / 5, atol=2e-5)


@pytest.mark.parametrize("severity", range(1, 6))
def test_colours_against_a_loop(severity: int) -> None:
    """Oracle: colorsys, pixel by pixel; contrast by its formula, image by image."""
    given = pixels(2, side=8)
    more, (factor, plus) = SEVERITIES["brightness"][severity - 1], SEVERITIES["saturate"][severity - 1]
    brighter, coloured = np.empty(given.shape), np.empty(given.shape)
    for place in np.ndindex(given.shape[:3]):
        h, s, v = colorsys.rgb_to_hsv(*(given[place] / 255))
        brighter[place] = colorsys.hsv_to_rgb(h, s, min(1, v + more))
        coloured[place] = colorsys.hsv_to_rgb(h, min(1, max(0, s * factor + plus)), v)
    flat = np.stack(
        [(x - x.mean((0, 1))) * SEVERITIES["contrast"][severity - 1] + x.mean((0, 1)) for x in given]
    )
    for name, expected in (("brightness", brighter * 255), ("saturate", coloured * 255), ("contrast", flat)):
        found = corrupted(given, name, severity, rng()).astype(int)
        assert np.abs(found - np.floor(expected + 1e-6)).max() <= 0, name


def test_grey_images_become_brighter() -> None:
    """Limiting case: of one channel, brightness is a sum."""
    given = pixels(2, channels=1)
    found = corrupted(given, "brightness", 2, rng())
    np.testing.assert_array_equal(found, np.floor((given / 255 + 0.1).clip(0, 1) * 255 + 1e-6))


def test_pictures_against_pillow() -> None:
    """Oracle: Pillow, picture by picture, as make_cifar_c.py calls it."""
    given = pixels(3)
    jpeg, coarse = corrupted(given, "jpeg_compression", 4, rng()), corrupted(given, "pixelate", 5, rng())
    for image, compressed, pixelated in zip(given, jpeg, coarse, strict=True):
        content = io.BytesIO()
        Image.fromarray(image).save(content, "JPEG", quality=50)
        np.testing.assert_array_equal(compressed, np.asarray(Image.open(content)))
        box = Image.Resampling.BOX
        small = Image.fromarray(image).resize((20, 20), box).resize((32, 32), box)
        np.testing.assert_array_equal(pixelated, np.asarray(small))


def test_accuracy_against_a_loop() -> None:
    """Oracle: a forward of all images at once, corrupted and normalised here; means over severities and corruptions."""
    _, model = networks(0)
    network, examples = Small(model), images(20, classes=3)
    found = corruptions(network, examples, n=100, kinds=KINDS)
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (network.mean, network.std))
    from mixbench.data.order import derived_seed

    for name in KINDS:
        for severity in range(1, 6):
            generator = np.random.default_rng(derived_seed("corrupted images", name, severity))
            changed = torch.from_numpy(corrupted(examples.images.numpy(), name, severity, generator))
            with torch.no_grad():
                logits = model((changed.permute(0, 3, 1, 2) / 255 - mean) / std)
            right = 100 * (logits.argmax(1) == examples.labels).double().mean().item()
            assert found["severities"][name][severity - 1] == pytest.approx(right)
        assert found[name] == pytest.approx(np.mean(found["severities"][name]))
    assert found["mean"] == pytest.approx(np.mean([found[name] for name in KINDS]))
    assert corruptions(network, examples, n=100, kinds=KINDS) == found
    some = corruptions(network, examples, n=100, kinds=["fog", "snow"])
    assert (some["fog"], some["snow"], set(some["severities"])) == (
        found["fog"],
        found["snow"],
        {"fog", "snow"},
    )
    assert some["mean"] == pytest.approx((found["fog"] + found["snow"]) / 2)
    with pytest.raises(DataError, match="none of those asked for"):
        corruptions(network, examples, n=100, kinds=[])


def test_glass_against_the_loop() -> None:
    """Oracle: the authors' loop and its line of NumPy, image by image; a deviation of 0.05 blurs nothing."""
    given = pixels(3)
    for times in (1, 2):
        found = CORRUPTIONS["glass_blur"](given / 255, rng(5), 0.05, times)
        drawn = -rng(5).integers(0, 2, (3, times, 30, 30, 2))
        for image, moves, blurred in zip(given.copy(), drawn, found, strict=True):
            for each in moves:
                for h in range(31, 1, -1):
                    for w in range(31, 1, -1):
                        y, x = h + each[h - 2, w - 2, 0], w + each[h - 2, w - 2, 1]
                        image[h, w], image[y, x] = image[y, x], image[h, w]
            np.testing.assert_allclose(blurred * 255, image, atol=1e-9)


@pytest.mark.parametrize(("radius", "deviation"), SEVERITIES["motion_blur"])
def test_motion_against_a_loop(radius: float, deviation: float) -> None:
    """Oracle: ImageMagick's definition, pixel by pixel and tap by tap; along a row it is a correlation with half a
    Gaussian.
    """
    given, angles = pixels(3, side=8) / 255, np.array([0.0, 33.0, -120.0])
    found = motion(given, angles, radius, deviation)
    weights = [math.exp(-(i**2) / (2 * deviation**2)) for i in range(2 * radius + 1)]
    expected = np.zeros_like(given)
    for n, angle in enumerate(np.deg2rad(angles)):
        for row, column in np.ndindex(8, 8):
            for i, weight in enumerate(weights):
                y = row + math.ceil(i * math.sin(angle) - 0.5)
                x = column + math.ceil(i * math.cos(angle) - 0.5)
                source = given[n, min(max(y, 0), 7), min(max(x, 0), 7)]
                expected[n, row, column] += weight / sum(weights) * source
    np.testing.assert_allclose(found, expected)
    half = np.array([*[0] * (2 * radius), *weights]) / sum(weights)
    np.testing.assert_allclose(found[0], ndimage.correlate1d(given[0], half, axis=1, mode="nearest"))


@pytest.mark.parametrize("factor", [1.0, 1.04, 1.26, 1.75, 2.25])
def test_enlarged_against_scipy(factor: float) -> None:
    """Oracle: scipy's zoom of the middle, cut to the size; a factor of 1 changes nothing."""
    given = pixels(2) / 255
    kept = math.ceil(32 / factor)
    first = (32 - kept) // 2
    for image, found in zip(given, enlarged(given, factor), strict=True):
        cut = image[first : first + kept, first : first + kept]
        large = ndimage.zoom(cut, (factor, factor, 1), order=1)
        trim = (len(large) - 32) // 2
        np.testing.assert_allclose(found, large[trim : trim + 32, trim : trim + 32], atol=1e-12)
    if factor == 1:
        np.testing.assert_allclose(enlarged(given, factor), given)


def test_zoom_blur_is_a_mean() -> None:
    """Oracle: the enlargements by 1 to 1.06, in the first severity, and the image, one after the other."""
    given = pixels(1) / 255
    expected = sum(enlarged(given, 1 + i / 100) for i in range(7)) + given
    np.testing.assert_allclose(CORRUPTIONS["zoom_blur"](given, rng(), 1.06), expected / 8, atol=1e-9)


@pytest.mark.parametrize("decay", [1.75, 3.0])
def test_plasma_against_a_loop(decay: float) -> None:
    """Oracle: the diamond-square algorithm point by point on a torus, with the same random numbers."""
    found = plasma(2, 8, decay, rng(1))
    for noise, cloud in zip(rng(1).uniform(-1, 1, (2, 63)), found, strict=True):
        left, height = iter(noise), {(0, 0): 0.0}
        for step, size in ((8, 1.0), (4, decay**-2), (2, decay**-4)):
            half, at = step // 2, list(itertools.product(range(0, 8, step), repeat=2))
            kinds = [  # the new points of a square at (y, x), and their neighbours
                ((half, half), [(0, 0), (0, step), (step, 0), (step, step)]),
                ((0, half), [(0, 0), (0, step), (half, half), (-half, half)]),
                ((half, 0), [(0, 0), (step, 0), (half, half), (half, -half)]),
            ]
            for (down, across), near in kinds:
                for y, x in at:
                    mean = sum(height[(y + b) % 8, (x + a) % 8] for b, a in near) / 4
                    height[y + down, x + across] = mean + size * next(left)
        expected = np.array([[height[y, x] for x in range(8)] for y in range(8)])
        expected = (expected - expected.min()) / (expected.max() - expected.min())
        np.testing.assert_allclose(cloud, expected, atol=1e-12)


def test_fog() -> None:
    """Closed forms: black stays black; a white image is (1 + c p) / (1 + c) of the plasma p, from 1 / (1 + c) to 1."""
    assert CORRUPTIONS["fog"](np.zeros((2, 32, 32, 3)), rng(), 1.5, 1.75).max() == 0
    white = CORRUPTIONS["fog"](np.ones((2, 32, 32, 1)), rng(2), 1.5, 1.75)[..., 0]
    np.testing.assert_allclose(white, (1 + 1.5 * plasma(2, 32, 1.75, rng(2))) / 2.5)
    assert (white.min(), white.max()) == (pytest.approx(0.4), 1)


@pytest.mark.parametrize("severity", range(1, 6))
def test_snow(severity: int) -> None:
    """Oracles: with a threshold that no flake passes, the whitened image alone, by its formula; with flakes, what is
    added to it is the same turned by half a circle.
    """
    mean, deviation, zoom, threshold, *rest = SEVERITIES["snow"][severity - 1]
    given = pixels(3) / 255
    bare = CORRUPTIONS["snow"](given, rng(), mean, deviation, zoom, 100, *rest)
    grey = (0.299 * given[..., 0] + 0.587 * given[..., 1] + 0.114 * given[..., 2])[..., None]
    colour = rest[-1]
    np.testing.assert_allclose(
        bare, colour * given + (1 - colour) * np.maximum(given, 1.5 * grey + 0.5), atol=1e-12
    )
    flakes = CORRUPTIONS["snow"](given, rng(), mean, deviation, zoom, threshold, *rest) - bare
    assert flakes.min() >= -1e-12
    assert flakes.max() > 0.01
    np.testing.assert_allclose(flakes, flakes[:, ::-1, ::-1], atol=1e-12)


@pytest.mark.parametrize("severity", range(1, 6))
def test_elastic_against_two_maps(severity: int) -> None:
    """Oracles: without waves, scipy's affine_transform with the matrix from the moved points to the points; without
    the affine map, a loop over pixels with bilinear interpolation; without either, the image itself.
    """
    far, smooth, affine = SEVERITIES["elastic_transform"][severity - 1]
    given = pixels(2) / 255
    elastic = CORRUPTIONS["elastic_transform"]
    np.testing.assert_allclose(elastic(given, rng(), 0, smooth, 0), given, atol=1e-9)
    drawn = rng(4).uniform(-1, 1, (2, 6 + 2 * 32 * 32))
    points = np.array([[26, 26], [26, 6], [6, 6]])  # (x, y)
    for n, image in enumerate(elastic(given, rng(4), 0, smooth, affine)):
        moved = points + affine * 32 * drawn[n, :6].reshape(3, 2)
        homogeneous = [np.vstack([p[:, ::-1].T, np.ones(3)]) for p in (points, moved)]
        matrix = homogeneous[0] @ np.linalg.inv(homogeneous[1])
        for channel in range(3):
            expected = ndimage.affine_transform(
                given[n, ..., channel], matrix[:2, :2], matrix[:2, 2], order=1, mode="mirror"
            )
            np.testing.assert_allclose(image[..., channel], expected, atol=1e-9)
    waved = elastic(given, rng(4), far, smooth, 0)
    for n in range(2):
        dx, dy = (
            far * 32 * ndimage.gaussian_filter(field, smooth * 32, mode="reflect", truncate=3)
            for field in drawn[n, 6:].reshape(2, 32, 32)
        )
        padded = np.pad(given[n], ((40, 40), (40, 40), (0, 0)), mode="symmetric")
        for row, column in itertools.product(range(0, 32, 5), repeat=2):
            y, x = 40 + row + dy[row, column], 40 + column + dx[row, column]
            i, j = math.floor(y), math.floor(x)
            a, b = y - i, x - j
            four = padded[i : i + 2, j : j + 2]
            value = (1 - a) * ((1 - b) * four[0, 0] + b * four[0, 1]) + a * (
                (1 - b) * four[1, 0] + b * four[1, 1]
            )
            np.testing.assert_allclose(waved[n, row, column], value, atol=1e-9)
