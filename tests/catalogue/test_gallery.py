"""`mixbench methods --gallery`: what is drawn is what the classes do, and what is written is what was drawn."""

from __future__ import annotations

import inspect
import io
import json
import os
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import official_archives as archives
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from mixbench.augment import GMix, PuzzleMix
from mixbench.catalogue import gallery
from mixbench.catalogue.gallery import (
    LAM,
    RATIOS,
    Mixed,
    gmix_mask,
    label_text,
    methods,
    mix_pair,
    quick_model,
)
from mixbench.data import load
from mixbench.data.store import cache
from mixbench.schema.specs import SPECS

NAMES = ["cat", "ship"]
LABELS = torch.tensor([3, 8])


@pytest.fixture(scope="module")
def pair() -> torch.Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    """Looks for the first image's class in the upper half only, for the second one's in the lower half only."""
    linear = torch.nn.Linear(3 * 32 * 32, 10, bias=False)
    weight = torch.zeros(10, 3, 32, 32)
    weight[3, :, :16] = weight[8, :, 16:] = 1e-3
    linear.weight.data = weight.flatten(1)
    return torch.nn.Sequential(torch.nn.Flatten(), linear)


@pytest.fixture(scope="module")
def mixes(pair: torch.Tensor, network: torch.nn.Module) -> dict[str, Mixed]:
    """Every column of part (a)."""
    return {title: mix_pair(mix, pair, LABELS, LAM, seed=0) for title, mix in methods(10, network)}


# --- the mixes ----------------------------------------------------------------------------------


def test_masks_and_labels_follow_the_definitions(mixes):
    """Oracle: the definitions of Mixup, CutMix, HMix and GMix; PuzzleMix keeps of both images what is salient."""
    share = {title: mixed.mask.mean(dtype=float) for title, mixed in mixes.items()}
    own = {title: mixed.own for title, mixed in mixes.items()}
    levels = {title: sorted(set(mixed.mask.flat)) for title, mixed in mixes.items()}
    assert levels["Mixup"] == [np.float32(LAM)]
    assert own["Mixup"] == pytest.approx(LAM)
    # Sides int(32 sqrt(0.35)) = 18 and int(32 sqrt(0.35 / 2)) = 13, made even; at seed 0 nothing is clipped.
    assert levels["CutMix"] == [0, 1]
    assert own["CutMix"] == share["CutMix"] == 1 - 18**2 / 32**2
    assert levels["HMix\nr = 0.5"] == [0, pytest.approx(LAM / (1 - 12**2 / 32**2))]
    assert own["HMix\nr = 0.5"] == pytest.approx(LAM)
    assert share["HMix\nr = 0.5"] == pytest.approx(LAM)
    assert own["GMix\nofficial"] == pytest.approx(share["GMix\nofficial"])
    assert own["GMix\npaper"] == pytest.approx(LAM)
    assert own["PuzzleMix"] == pytest.approx(share["PuzzleMix"])
    assert set(levels["PuzzleMix"]) <= {0, 0.5, 1}
    assert mixes["PuzzleMix"].mask[:12].mean() > 0.9
    assert mixes["PuzzleMix"].mask[20:].mean() < 0.1


def test_boxes_and_bumps_share_their_place(mixes):
    """Oracle: the pixel grid. GMix is the Gaussian around the centre of CutMix's and HMix's boxes."""
    rows, columns = np.nonzero(mixes["CutMix"].mask == 0)
    centre = rows.min() + 9, columns.min() + 9
    inner = np.nonzero(mixes["HMix\nr = 0.5"].mask == 0)
    assert (inner[0].min() + 6, inner[1].min() + 6) == centre
    y, x = np.mgrid[:32, :32]
    squared = (y - centre[0]) ** 2 + (x - centre[1]) ** 2
    for title, width in (("GMix\nofficial", 1 - LAM), ("GMix\npaper", 2 * (1 - LAM))):
        expected = 1 - np.exp(-np.pi * squared / (width * 32**2))
        np.testing.assert_allclose(mixes[title].mask, expected, atol=1e-6)


def test_the_mask_is_the_one_that_mixed_the_images(pair, network, mixes):
    """Oracle: equation 1 of Park et al. PuzzleMix moves blocks before, so it is asked not to."""
    still = gallery._WatchedPuzzleMix(10, model=network, pairing="flip", transport=False)
    unmoved = [mixed for title, mixed in mixes.items() if title != "PuzzleMix"]
    first, second = pair.permute(0, 2, 3, 1).numpy()
    for mixed in [*unmoved, mix_pair(still, pair, LABELS, LAM, seed=0)]:
        mask = mixed.mask[:, :, None]
        np.testing.assert_allclose(mixed.image, mask * first + (1 - mask) * second, atol=1e-6)


def test_watching_puzzlemix_changes_nothing(pair):
    """Oracle: PuzzleMix itself, on images whose sides are no multiples of all its grids."""
    model = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 10))
    images = pair[:, :, :27, :30]
    for seed in range(4):
        mixed = mix_pair(
            gallery._WatchedPuzzleMix(10, model=model, pairing="flip"), images, LABELS, LAM, seed
        )
        plain = PuzzleMix(10, model=model, pairing="flip")
        x, y = plain(images, LABELS, LAM, torch.Generator().manual_seed(seed))
        np.testing.assert_array_equal(mixed.image, x[0].permute(1, 2, 0).numpy())
        assert mixed.own == y[0, 3]
        assert mixed.own == pytest.approx(mixed.mask.mean(dtype=float))


def test_the_network_behind_the_saliency_has_learned(data_dir):
    """Oracle: the digits' test labels. Three of four right is far from the one in ten of an untrained network."""
    splits = load("digits", data_dir)
    state = torch.get_rng_state()
    model = quick_model(splits.train, 10, seed=0).eval()
    assert torch.equal(torch.get_rng_state(), state)
    images, labels = gallery.as_tensors(splits.test, np.arange(359))
    assert (model(images.double()).argmax(1) == labels).double().mean() > 0.75


def puzzle(root: str) -> list:
    """PuzzleMix's saliency, image and label after twelve steps of training."""
    splits = load("digits", Path(root))
    images, labels = gallery.as_tensors(splits.test, gallery.first_two(splits.test.labels))
    mix = dict(methods(10, quick_model(splits.train, 10, seed=0)))["PuzzleMix"]
    mixed = mix_pair(mix, images, labels, LAM, seed=0)
    return [mix.saliency(images, labels).flatten().tolist(), mixed.image.flatten().tolist(), mixed.own]


ELSEWHERE = f"""
import json, sys
from pathlib import Path
import torch
from mixbench.catalogue import gallery
from mixbench.catalogue.gallery import LAM, methods, mix_pair, quick_model
from mixbench.data import load
{inspect.getsource(puzzle)}
gallery.TRAINED, gallery.EPOCHS = 300, 2
print(json.dumps(puzzle(sys.argv[1])))
"""
OLD_PROCESSOR = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}


def test_puzzlemix_is_the_same_on_every_processor(data_dir, monkeypatch):
    """Oracle: the same with the instructions of an old processor, which add in another order.

    In float32 the saliencies of the two differ by 5e-5 after these twelve steps.
    """
    monkeypatch.setattr(gallery, "TRAINED", 300)
    monkeypatch.setattr(gallery, "EPOCHS", 2)
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(data_dir)],
        env={**os.environ, **OLD_PROCESSOR},
        capture_output=True,
        check=True,
    )
    saliency, image, own = puzzle(str(data_dir))
    other_saliency, other_image, other_own = json.loads(done.stdout)
    np.testing.assert_allclose(saliency, other_saliency, rtol=1e-6)
    assert (image, own) == (other_image, other_own)


# --- the drawing --------------------------------------------------------------------------------


@given(st.floats(0, 1))
def test_label_numbers_sum_to_one(own):
    """Oracle: arithmetic on what is printed, in hundredths."""
    found = re.fullmatch(r"([01])\.(\d\d) cat\n\+ ([01])\.(\d\d) ship", label_text(own, NAMES))
    whole, part, other_whole, other_part = map(int, found.groups())
    assert 100 * (whole + other_whole) + part + other_part == 100
    assert abs(100 * whole + part - 100 * own) <= 0.5 + 1e-9


def test_part_a_shows_the_masks_and_labels(pair, mixes):
    """Oracle: the mixes that were handed over; each text stands below its own mask."""
    figure = Figure((gallery.WIDTH, gallery.HEIGHT))
    gallery.draw_pair(figure, pair, NAMES, list(mixes.items()))
    axes = [a for a in figure.axes if a.images]
    shown = [a.images[0].get_array() for a in axes]
    expected = [*pair.permute(0, 2, 3, 1).numpy()]
    for mixed in mixes.values():
        expected += [mixed.image, mixed.mask]
    assert len(shown) == len(expected) == 2 + 2 * 6
    for one, other in zip(shown, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    middles = {round(t.get_position()[0], 3): t.get_text() for t in figure.texts if "\n+" in t.get_text()}
    for place, mixed in zip(axes[3::2], mixes.values(), strict=True):
        box = place.get_position()
        assert middles[round((box.x0 + box.x1) / 2, 3)] == label_text(mixed.own, NAMES)


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3), (64, 64, 3), (20, 33, 3)])
def test_every_pixel_is_a_square_of_the_same_size(shape):
    """Oracle: numpy.repeat by a whole factor, dot for dot inside of the frame, in a print; the largest that fits."""
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with style.context(gallery.STYLE, after_reset=True):
        figure = Figure((gallery.WIDTH, gallery.HEIGHT), dpi=gallery.DPI)
        axes = gallery._picture(figure, pixels / 255, 0.1234, 0.5678, gallery.CELL)
        content = io.BytesIO()
        figure.savefig(content, format="png")
    dots = np.asarray(Image.open(content).convert("RGB"), int)
    box = axes.get_window_extent()
    factor = 224 // max(shape[:2])
    assert (box.width, box.height) == pytest.approx((shape[1] * factor, shape[0] * factor))
    top, left = round(figure.bbox.height - box.y1), round(box.x0)
    enlarged = pixels.repeat(factor, 0).repeat(factor, 1).astype(int)
    shown = dots[top : top + len(enlarged), left : left + enlarged.shape[1]]
    inside = np.s_[2:-2, 2:-2]  # of the frame
    assert (
        np.abs(shown[inside] - enlarged[inside]).max() <= 1
    )  # of 255: colours are looked up in a map of 256


@pytest.fixture(scope="module")
def part_b() -> Figure:
    figure = Figure((gallery.WIDTH, gallery.HEIGHT))
    gallery.draw_gmix(figure, seed=0)
    return figure


def test_part_b_shows_both_variants_over_lambda(part_b):
    """Oracle: GMix's label rules; the mean of each drawn mask (official) and lambda itself (paper)."""
    shown = [a.images[0].get_array() for a in part_b.axes if a.images]
    numbers = [float(t.get_text()) for t in part_b.texts if re.fullmatch(r"\d\.\d\d", t.get_text())]
    heads, official, paper = np.split(np.array(numbers), 3)
    np.testing.assert_array_equal(heads, RATIOS)
    np.testing.assert_array_equal(paper, RATIOS)
    np.testing.assert_allclose(official, [mask.mean() for mask in shown[:10]], atol=0.005 + 1e-6)
    for index, lam in enumerate(RATIOS):
        for variant, mask in (("official", shown[index]), ("paper", shown[10 + index])):
            np.testing.assert_array_equal(mask, gmix_mask(variant, lam, seed=0).mask)
        # The branch at 1/2: the bump is the first image below, the second one above.
        centre = np.unravel_index(shown[10 + index].argmin(), (32, 32))
        assert shown[index][centre] == (1 if lam < 0.5 else 0)


def test_the_plot_shows_the_gap_in_the_labels(part_b):
    """Oracle: the closed form of the largest mean that a bump can have at lambda = 1/2, centred in 32x32 pixels."""
    offsets = np.arange(32) - 16
    largest = np.exp(-np.pi * offsets**2 / (32**2 / 2)).mean() ** 2
    plot = part_b.axes[-1]
    branch, dots, label, visible = (np.array(line.get_data(), float) for line in plot.lines)
    np.testing.assert_array_equal(branch[0], 0.5)
    lam, own = dots
    assert own[lam < 0.5].max() <= largest + 1e-6
    assert own[lam >= 0.5].min() >= 1 - largest - 1e-6
    np.testing.assert_allclose(plot.get_yticks(), [0, largest, 1 - largest, 1], atol=2e-3)
    np.testing.assert_allclose(label[0], label[1], atol=1e-6)
    # Of the text's mask 37 % of the first image is still visible at lambda = 0.05.
    assert np.interp(0.05, *visible) == pytest.approx(0.37, abs=0.015)


def test_nothing_overlaps_and_nothing_is_cut_off(pair, mixes):
    """Oracle: Matplotlib's own extents of all pictures with their ticks, and of all texts, long names among them."""
    with style.context(gallery.STYLE, after_reset=True):
        figure = Figure((gallery.WIDTH, gallery.HEIGHT), dpi=gallery.DPI)
        gallery.draw_pair(figure, pair, ["Ankle boot", "Pullover"], list(mixes.items()))
        gallery.draw_gmix(figure, seed=0)
        FigureCanvasAgg(figure).draw()
    boxes = [a.get_tightbbox() for a in figure.axes] + [text.get_window_extent() for text in figure.texts]
    width, height = figure.bbox.size
    for box in boxes:
        assert box.x0 > 0 < box.y0
        assert box.x1 < width
        assert box.y1 < height
    for one, other in combinations(boxes, 2):
        x = min(one.x1, other.x1) - max(one.x0, other.x0)
        y = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert min(x, y) <= 2, (one, other)  # dots: frames are drawn half outside their pictures


def test_own_weights_are_those_of_single_masks():
    """Oracle: GMix called on ones mixed with zeros, whose mean is the label of the official variant."""
    lam = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
    mix = GMix(2, pairing="flip")
    images = torch.cat([torch.ones(7, 1, 32, 32), torch.zeros(7, 1, 32, 32)])
    labels = torch.tensor([0] * 7 + [1] * 7)
    x, _ = mix(images, labels, lam.repeat(2), torch.Generator().manual_seed(4))
    torch.testing.assert_close(gallery.own_weights(mix, lam, seed=4), x[:7].mean((1, 2, 3)))


# --- the command --------------------------------------------------------------------------------


def test_the_command_writes_a_png_to_print(mixbench):
    """Oracle: Pillow. 7.16 by 6.2 inches at 300 dots per inch, not blank; digits where nothing is prepared."""
    result = mixbench("methods", "--gallery", "out.png")
    assert result.status == 0, result.err
    assert result.out == "out.png: digits test images 0 (zero) and 1 (four), lambda=0.65, seed=0\n"
    with Image.open("out.png") as image:
        image.load()
        assert (image.format, image.size) == ("PNG", (2148, 1860))
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert len(np.unique(np.asarray(image.convert("L")))) > 200


def test_cifar10_is_taken_where_it_is_prepared(mixbench, tmp_path, monkeypatch):
    """Oracle: the prepared labels; also that the ending decides the format (a PDF starts with %PDF)."""
    random = np.random.default_rng(0)
    arrays = archives.random_arrays(SPECS["cifar10"])
    arrays["test_labels"][:3] = 4, 4, 7
    arrays["test_images"][:] = random.integers(0, 256, arrays["test_images"].shape, np.uint8)
    cache.write(tmp_path, SPECS["cifar10"], cache.Decoded(arrays, "a test", published=False))
    monkeypatch.setenv("MIXBENCH_DATA", str(tmp_path))
    result = mixbench("methods", "--gallery", "out.PDF", "--seed", "3")
    assert result.out == "out.PDF: cifar10 test images 0 (deer) and 2 (horse), lambda=0.65, seed=3\n"
    assert Path("out.PDF").read_bytes().startswith(b"%PDF-")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gallery", "out.gif"], r"out\.gif: the file name must end in one of \.png, \.pdf, \.svg"),
        (["--gallery", "out"], r"out: the file name must end in one of"),
        (["--gallery", "nowhere/out.png"], r"nowhere/out\.png: there is no folder nowhere"),
        (["--gallery", "taken.png"], r"taken\.png: is a folder"),
        (["--gallery", "out.png", "--images", "cifr10"], r"'cifr10'.*Did you mean 'cifar10'\?"),
        (["--gallery", "out.png", "gmix"], r"leave out gmix"),
        (["--images", "digits"], r"--images and --seed go with --gallery"),
        (["--seed", "1"], r"--images and --seed go with --gallery"),
    ],
)
def test_mistakes_are_found_before_any_work(mixbench, monkeypatch, arguments, message):
    """Oracle: exit status 2 and one message, with no data set loaded, and nothing written."""
    monkeypatch.setattr(gallery, "load", lambda *_: pytest.fail("the data set was loaded"))
    Path("taken.png").mkdir()
    result = mixbench("methods", *arguments)
    assert result.status == 2
    assert re.search(message, result.err)
    assert result.out == ""
    assert [p.name for p in Path().iterdir()] == ["taken.png"]


def test_a_folder_without_permission(mixbench, monkeypatch):
    """Oracle: the answer of os.access, which for a superuser is always yes, so it is given here."""
    monkeypatch.setattr(gallery.os, "access", lambda *_: False)
    result = mixbench("methods", "--gallery", "out.png")
    assert (result.status, result.out) == (2, "")
    assert "out.png: no permission to write in" in result.err


def test_first_two_of_different_class():
    """Oracle: by hand."""
    assert gallery.first_two(np.array([2, 2, 2, 0, 1])) == [0, 3]


# --- class names --------------------------------------------------------------------------------


def test_class_names():
    """Oracle: torchvision's lists; the sets whose official order is the alphabetical one; the count."""
    from torchvision import datasets

    assert SPECS["fashion_mnist"].classes == tuple(datasets.FashionMNIST.classes)
    assert SPECS["kmnist"].classes == tuple(datasets.KMNIST.classes)
    for name in ("cifar10", "cifar100", "stl10"):
        assert list(SPECS[name].classes) == sorted(set(SPECS[name].classes))
    assert all(len(s.classes) == s.num_classes for s in SPECS.values() if s.name != "tiny_imagenet")
    assert SPECS["cifar100"].class_name(58) == "pickup truck"
    assert SPECS["tiny_imagenet"].class_name(17) == "class 17"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mutag", "holds graphs, which have no pictures"),
        ("letter", "holds rows of a table, which have no pictures"),
        ("speech_commands", "holds recordings, which have no pictures"),
        ("folder", "is read from files of your own"),
        ("imagenet", "is read from files of your own"),
    ],
)
def test_a_set_without_pictures_is_not_unknown(mixbench, workplace: Path, name: str, words: str) -> None:
    """What it holds, and what is allowed. Oracle: the list of published sets of images."""
    done = mixbench("methods", "--gallery", "out.png", "--images", name)
    assert done.status == 2
    assert done.err == f"mixbench methods: --images {name}: {words}; allowed: {', '.join(SPECS)}.\n"
