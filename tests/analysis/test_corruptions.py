"""Corrupted images, against closed forms, brute force, and Pillow."""

from __future__ import annotations

import colorsys
import io

import numpy as np
import pytest
import torch
from PIL import Image
from small_networks import Small, images, networks

from mixbench.analysis.corrupted import corruptions
from mixbench.analysis.corruptions import KINDS, SEVERITIES
from mixbench.analysis.degrade import CORRUPTIONS, corrupted


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def pixels(n: int = 4, side: int = 32, channels: int = 3, seed: int = 0) -> np.ndarray:
    smooth = rng(seed).random((n, side // 4, side // 4, channels)).repeat(4, 1).repeat(4, 2)
    return (255 * (smooth + 0.2 * rng(seed + 1).random((n, side, side, channels))).clip(0, 1)).astype(
        np.uint8
    )


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


@pytest.mark.parametrize("name", [name for name in KINDS if name not in ("saturate", "pixelate")])
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
    found = corruptions(network, examples, n=100)
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
    assert corruptions(network, examples, n=100) == found
