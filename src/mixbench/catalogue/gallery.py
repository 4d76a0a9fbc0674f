"""What the mixing methods do to two images, as one figure to print: `mixbench methods --gallery FILE`.

Part (a) is Figure 3 of Park, Yun, Chun (NeurIPS 2022) with the other mask-based methods beside theirs. Part (b)
shows GMix's masks and label weights over lambda, for the authors' code and for the text of the paper. All of it
comes from the classes that train: a channel of ones and zeros is mixed along with the images, and is the mask.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mixbench.augment import CutMix, GMix, HMix, Mixup, PuzzleMix
from mixbench.augment.ratio import RatioMix
from mixbench.config.options import names as options
from mixbench.data import Split, load
from mixbench.data.store.cache import read_meta
from mixbench.data.subset import stratified
from mixbench.errors import ConfigError
from mixbench.files import write_atomic
from mixbench.inventory.paths import data_dir
from mixbench.models import small_cnn
from mixbench.schema.graphs import GRAPHS
from mixbench.schema.specs import SPECS, DataSpec, find
from mixbench.schema.tables import TABLES

FORMATS = ("png", "pdf", "svg")
DPI = 300
LAM = 0.65  # of Figure 3 in Park et al.
RATIOS = (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95)
SIDE = 32  # pixels of the masks in part (b)
TRAINED, EPOCHS = 2_000, 5  # what the network behind PuzzleMix has seen

# Inches. The width is that of two columns in a journal; 224 dots of 1/300 inch are a whole number of dots for
# each pixel of an image with 8, 28 or 32 of them.
WIDTH, HEIGHT = 7.16, 6.2
CELL = 224 / DPI
SMALL = 160 / DPI
STYLE = {
    "font.size": 7,
    "axes.linewidth": 0.5,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "pdf.fonttype": 42,  # text in a PDF stays text
}
BLUE, RED, GREY = "#0072b2", "#d55e00", "#555555"  # Okabe and Ito's colours, for colour-blind readers too


@dataclass(frozen=True)
class Mixed:
    """One mix of two images: image (H, W, C) in [0, 1], the mask (H, W) that made it, and its label.

    mask: weight of the first image at each pixel. own: weight of the first image's label. Both in [0, 1].
    """

    image: NDArray[np.float32]
    mask: NDArray[np.float32]
    own: float


def write_gallery(path: Path, name: str | None = None, seed: int = 0) -> str:
    """Draws the figure into `path` and returns a line that says what it shows.

    Args:
        path: ends in .png, .pdf or .svg; its folder is there. An old file is replaced.
        name: data set of the two images; None takes cifar10 if that is prepared, else the digits.
        seed: of everything that is drawn.

    Raises:
        ConfigError: an unknown ending or data set, or a path that cannot be written; found before any work.
        DataError: the data set is damaged or cannot be had.
        OutputError: the disk refuses the file after all.
    """
    check_path(path)
    root = data_dir()
    spec = with_pictures(name or ("cifar10" if read_meta(root, "cifar10") else "digits"))
    splits = load(spec.name, root)
    chosen = first_two(splits.test.labels)
    images, labels = as_tensors(splits.test, chosen)
    model = quick_model(splits.train, spec.num_classes, seed)
    columns = methods(spec.num_classes, model)
    mixes = [(title, mix_pair(mix, images, labels, LAM, seed)) for title, mix in columns]
    names = [spec.class_name(int(label)) for label in labels]
    with style.context(STYLE, after_reset=True):  # the same figure whatever the reader's matplotlibrc says
        figure = Figure((WIDTH, HEIGHT), dpi=DPI)
        draw_pair(figure, images, names, mixes)
        draw_gmix(figure, seed)
        content = io.BytesIO()
        figure.savefig(content, format=path.suffix[1:].lower())
    write_atomic(path, content.getvalue())
    shown = " and ".join(f"{index} ({name})" for index, name in zip(chosen, names, strict=True))
    return f"{path}: {spec.name} test images {shown}, lambda={LAM:g}, seed={seed}"


def with_pictures(name: str) -> DataSpec:
    """The published set of this name, of small images. Raises ConfigError for any other, saying what it holds."""
    if name in SPECS or name not in options("dataset"):
        return find(name)
    held = {
        "speech_commands": "recordings",
        **dict.fromkeys(GRAPHS, "graphs"),
        **dict.fromkeys(TABLES, "rows of a table"),
    }
    what = f"holds {held[name]}, which have no pictures" if name in held else "is read from files of your own"
    raise ConfigError(f"--images {name}: {what}; allowed: {', '.join(SPECS)}.")


def check_path(path: Path) -> None:
    """Raises ConfigError unless a figure can be written to `path`."""
    if path.suffix[1:].lower() not in FORMATS:
        allowed = ", ".join(f".{suffix}" for suffix in FORMATS)
        raise ConfigError(f"--gallery {path}: the file name must end in one of {allowed}.")
    if path.is_dir():
        raise ConfigError(f"--gallery {path}: is a folder; name a file.")
    if not path.parent.is_dir():
        raise ConfigError(f"--gallery {path}: there is no folder {path.parent}.")
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"--gallery {path}: no permission to write in {path.parent}.")


# --- mixing -------------------------------------------------------------------------------------


def first_two(labels: NDArray[np.int64]) -> list[int]:
    """Positions of the first image and of the first one of another class."""
    return [0, int(np.argmax(labels != labels[0]))]


def as_tensors(split: Split, indices: list[int] | NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Images (B, C, H, W) float32 in [0, 1] and labels (B,) int64."""
    images = torch.from_numpy(split.inputs[indices]).permute(0, 3, 1, 2)
    return images.float() / 255, torch.from_numpy(split.labels[indices])


def quick_model(train: Split, num_classes: int, seed: int) -> nn.Module:
    """A network whose gradient means something: 12 s on one core and 40 % test accuracy on CIFAR-10.

    Without training, PuzzleMix's saliency would be that of random filters. In float64, for processors add in different
    orders: in float32 the last bits grow, step by step, to another mask.
    """
    images, labels = as_tensors(train, stratified(train.labels, min(TRAINED, len(train.labels))))
    images = images.double()
    with torch.random.fork_rng(devices=[]), _float64():
        torch.manual_seed(seed)
        model = small_cnn(images.shape[1], num_classes, stem_stride=2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
        steps = EPOCHS * -(-len(images) // 50)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.2, total_steps=steps)
        for _ in range(EPOCHS):
            for batch in torch.randperm(len(images)).split(50):
                optimizer.zero_grad()
                cross_entropy(model(images[batch]), labels[batch]).backward()
                optimizer.step()
                schedule.step()
    return model


@contextmanager
def _float64() -> Iterator[None]:
    """New tensors are float64 in the block, also those that a module draws for its weights."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class _WatchedPuzzleMix(PuzzleMix):
    """PuzzleMix that keeps its masks: they depend on the images, so a further channel would change them."""

    def saliency(self, images: Tensor, labels: Tensor) -> Tensor:
        return super().saliency(images.to(next(self.model.parameters()).dtype), labels)

    def cut(self, images: Tensor, *others: Any) -> Tensor:
        masks = super().cut(images, *others)
        rows, columns = (size // masks.shape[1] for size in images.shape[2:])
        self.masks = masks.repeat_interleave(rows, 1).repeat_interleave(columns, 2)
        return masks


def methods(num_classes: int, model: nn.Module) -> list[tuple[str, RatioMix]]:
    """The columns of part (a). In a batch of two, reverse order pairs each image with the other one."""
    return [
        ("Mixup", Mixup(num_classes, pairing="flip")),
        ("CutMix", CutMix(num_classes, pairing="flip")),
        ("HMix\nr = 0.5", HMix(num_classes, r=0.5, pairing="flip")),
        ("GMix\nofficial", GMix(num_classes, variant="official", pairing="flip")),
        ("GMix\npaper", GMix(num_classes, variant="paper", pairing="flip")),
        ("PuzzleMix", _WatchedPuzzleMix(num_classes, model=model, pairing="flip")),
    ]


def mix_pair(mix: RatioMix, images: Tensor, labels: Tensor, lam: float, seed: int) -> Mixed:
    """The first of two images (2, C, H, W) with labels (2,), mixed with the second one.

    Equal seeds give all methods that draw a place (box or bump) the same one.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = images.shape[2:]
    if isinstance(mix, _WatchedPuzzleMix):
        x, y = mix(images, labels, lam, generator)
        image, mask = x[0], mix.masks[0, :height, :width]
    else:
        marks = torch.tensor([1.0, 0.0])[:, None, None, None].expand(2, 1, height, width)
        x, y = mix(torch.cat([images, marks], dim=1), labels, lam, generator)
        image, mask = x[0, :-1], x[0, -1]
    return Mixed(image.permute(1, 2, 0).numpy(), mask.numpy(), float(y[0, labels[0]]))


def gmix_mask(variant: str, lam: float, seed: int) -> Mixed:
    """A mask of GMix, with an image of no channels."""
    mix = GMix(2, variant=variant, pairing="flip")
    return mix_pair(mix, torch.empty(2, 0, SIDE, SIDE), torch.tensor([0, 1]), lam, seed)


def own_weights(mix: RatioMix, lam: Tensor, seed: int) -> Tensor:
    """The own label's weight (n,) for ratios (n,), each with a place of its own; `mix` pairs by "flip"."""
    n = len(lam)
    labels = torch.arange(2).repeat_interleave(n)
    generator = torch.Generator().manual_seed(seed)
    return mix(torch.zeros(2 * n, 1, SIDE, SIDE), labels, lam.repeat(2), generator)[1][:n, 0]


# --- drawing: lengths in inches, from the figure's upper left corner ----------------------------


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    return figure.add_axes((left / WIDTH, 1 - (top + height) / HEIGHT, width / WIDTH, height / HEIGHT))


def _text(figure: Figure, x: float, y: float, text: str, **font: Any) -> None:
    figure.text(x / WIDTH, 1 - y / HEIGHT, text, linespacing=1.1, **font)


def _picture(figure: Figure, pixels: NDArray[np.float32], left: float, top: float, side: float) -> Axes:
    """An image (H, W, 3) or (H, W, 1), or a mask (H, W), in the middle of a square, on whole dots of a print.

    Each pixel is as many dots wide and high as there is room for, the same for all, where there is room for one.
    """
    height, width = pixels.shape[:2]
    room = round(side * DPI)
    factor: float = room // max(height, width) or room / max(height, width)
    height, width = round(height * factor), round(width * factor)
    left, top = (round(start * DPI) + (room - size) // 2 for start, size in ((left, width), (top, height)))
    axes = _axes(figure, left / DPI, top / DPI, width / DPI, height / DPI)
    cmap = "cividis" if pixels.ndim == 2 else "gray"  # without effect on colour images
    axes.imshow(pixels, cmap=cmap, vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    axes.set(xticks=[], yticks=[])
    return axes


def label_text(own: float, names: list[str]) -> str:
    """`0.65 cat + 0.35 ship` on two lines; the two numbers sum to 1."""
    share = round(own, 2)
    return f"{share:.2f} {names[0]}\n+ {1 - share:.2f} {names[1]}"


def draw_pair(figure: Figure, images: Tensor, names: list[str], mixes: list[tuple[str, Mixed]]) -> None:
    """Part (a): the two images (2, C, H, W), then each mix above its mask and its label."""
    top, step = 0.52, CELL + (WIDTH - 0.1 - 8 * CELL) / 7
    _text(figure, 0.05, 0.15, f"(a) Two images mixed at λ = {LAM:g}: mixed image, mask M, label", size=8)
    for column, (name, image) in enumerate(zip(names, images, strict=True)):
        left = 0.05 + column * step
        _picture(figure, image.permute(1, 2, 0).numpy(), left, top, CELL)
        _text(figure, left + CELL / 2, top - 0.06, name, ha="center")
    for column, (title, mixed) in enumerate(mixes, start=2):
        left = 0.05 + column * step
        for line, part in enumerate(reversed(title.split("\n"))):
            _text(figure, left + CELL / 2, top - 0.06 - 0.12 * line, part, ha="center")
        _picture(figure, mixed.image, left, top, CELL)
        mask = _picture(figure, mixed.mask, left, top + CELL + 0.06, CELL)
        below = top + 2 * CELL + 0.1
        _text(figure, left + CELL / 2, below, label_text(mixed.own, names), ha="center", va="top")
    bar = _axes(figure, 0.05 + CELL / 2, top + 1.55 * CELL, step, 0.08)
    figure.colorbar(mask.images[0], cax=bar, orientation="horizontal", ticks=[0, 0.5, 1])
    bar.set_title("M, the weight of\nthe first image", size=7, pad=3)
    note = (
        "PuzzleMix also moves blocks of the images; "
        f"its saliency is that of a small network after {EPOCHS} epochs on at most {TRAINED:,} training images.\n"
        "Manifold Mixup has no picture: it mixes hidden states of the network. Mixup + CutMix takes one of the two."
    )
    _text(figure, 0.05, top + 2 * CELL + 0.59, note, size=6, color=GREY)


def draw_gmix(figure: Figure, seed: int) -> None:
    """Part (b): masks of both variants over lambda, and below them the label's weight on the same axis."""
    left, top, width = 0.6, 2.83, WIDTH - 0.6 - 0.1
    title = "(b) GMix over λ: masks for one place of the bump, and the label weight of the first image"
    _text(figure, 0.05, top, title, size=8)
    first, second = top + 0.32, top + 0.32 + SMALL + 0.22
    _text(figure, left - 0.08, first - 0.05, "λ", ha="right")
    for lam in RATIOS:
        _text(figure, left + lam * width, first - 0.05, f"{lam:.2f}", ha="center")
    for variant, y in (("official", first), ("paper", second)):
        _text(figure, left - 0.08, y + SMALL / 2, variant, ha="right", va="center")
        _text(figure, left - 0.08, y + SMALL + 0.13, "label", ha="right")
        for lam in RATIOS:
            mixed = gmix_mask(variant, lam, seed)
            x = left + lam * width
            _picture(figure, mixed.mask, x - SMALL / 2, y, SMALL)
            _text(figure, x, y + SMALL + 0.13, f"{mixed.own:.2f}", ha="center")
    plot = second + SMALL + 0.28
    draw_labels(_axes(figure, left, plot, width, HEIGHT - plot - 0.35), seed)


def draw_labels(axes: Axes, seed: int) -> None:
    """The weight of the first image's label over lambda, for both variants of GMix and many places."""
    official, paper, visible = (
        GMix(2, variant=variant, label=label, pairing="flip")
        for variant, label in (("official", None), ("paper", None), ("paper", "mean_mask"))
    )
    drawn = torch.rand(2000, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    grid = torch.linspace(0, 1, 21, dtype=torch.float64)
    average = own_weights(visible, grid.repeat_interleave(200), seed).view(21, 200).mean(1)
    upper = float(own_weights(official, torch.full((2000,), 0.5), seed).min())
    axes.axhspan(1 - upper, upper, color="0.9", lw=0)
    axes.axvline(0.5, color=GREY, lw=0.5)
    axes.plot(
        drawn,
        own_weights(official, drawn, seed),
        ".",
        color=BLUE,
        ms=2,
        mew=0,
        rasterized=True,
        label="official: label = mean of M, a dot per draw",
    )
    axes.plot(grid, own_weights(paper, grid, seed), color=RED, lw=1, label="paper: label = λ")
    axes.plot(
        grid,
        average,
        color=RED,
        lw=1,
        dashes=(3, 2),
        label="paper: mean of M, averaged over draws (not its label)",
    )
    axes.legend(loc="upper left", frameon=False, borderaxespad=0.2, markerscale=3)
    axes.text(0.99, 0.5, "no official label in between", ha="right", va="center")
    axes.text(0.505, 0.03, "official: branch at λ = 1/2")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="λ", ylabel="label weight", xticks=RATIOS)
    axes.set_yticks([0, 1 - upper, upper, 1], [f"{y:.2f}" for y in (0, 1 - upper, upper, 1)])
