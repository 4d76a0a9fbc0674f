"""The example of a method, ResizeMix. Oracles: torchvision's resize, scipy's distributions, equation 1 of Park."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from probes import NoHostSync, option_values, probe
from scipy import stats
from torch import Tensor
from torchvision.transforms.v2.functional import InterpolationMode, resize

from mixbench.augment.draws import PAIRINGS, Draws
from mixbench.config import plugins
from mixbench.losses import LOSSES
from mixbench.models import small_cnn
from mixbench.optim import RULES
from mixbench.optim.build import build_rule
from mixbench.training.members import member

EXAMPLES = Path(__file__).parents[2] / "examples"
PLUGIN = str(EXAMPLES / "resizemix" / "resizemix.py")
TINY = ("epochs=1", "dataset.train_size=100", "dataset.test_size=50", "batch_size=50")


@pytest.fixture
def ResizeMix(plugin_room: None) -> type:
    """The class, looked up as training does."""
    with plugins.named([PLUGIN]):
        return member("augment", "resizemix")


def pasted(images: Tensor, partners: Tensor, tau: Tensor, places: list[Tensor]) -> tuple[Tensor, Tensor]:
    """ResizeMix as it is said: for each image a loop, torchvision's resize, a box. And the own label's weights."""
    x, own = images.clone(), []
    height, width = images.shape[2:]
    for i, partner in enumerate(partners):
        j = i if len(tau) > 1 else 0
        h, w = (max(1, math.floor(tau[j] * side)) for side in (height, width))
        top, left = (
            math.floor(place[j] * (side - size + 1))
            for place, side, size in zip(places, (height, width), (h, w), strict=True)
        )
        small = resize(images[partner], [h, w], InterpolationMode.BILINEAR, antialias=False)
        x[i, :, top : top + h, left : left + w] = small
        own.append(1 - h * w / (height * width))
    return x, torch.tensor(own)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batch=st.integers(1, 5),
    height=st.integers(1, 21),
    width=st.integers(1, 21),
    per_sample=st.booleans(),
    bounds=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted),
    seed=st.integers(0, 10_000),
)
def test_equals_the_partner_resized_by_torchvision(
    ResizeMix, batch, height, width, per_sample, bounds, seed
) -> None:
    """Any size, odd and not square; a box per batch or per example; all draws given."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch, 3, height, width, generator=generator, dtype=torch.float64)
    labels, partners = torch.randint(5, (batch,), generator=generator), torch.arange(batch).roll(1)
    draws = [
        torch.rand(batch if per_sample else 1, generator=generator, dtype=torch.float64) for _ in range(3)
    ]
    with pytest.MonkeyPatch.context() as patch:
        given_draws = iter(draws)
        patch.setattr(Draws, "partners", lambda self, pairing, n: partners)
        patch.setattr(Draws, "uniform", lambda self, n: next(given_draws))
        x, y = ResizeMix(5, *bounds, per_sample=per_sample)(images, labels)
    expected, own = pasted(images, partners, bounds[0] + (bounds[1] - bounds[0]) * draws[0], draws[1:])
    assert torch.allclose(x, expected, atol=1e-9)
    targets = torch.zeros(batch, 5)
    for i, partner in enumerate(partners):
        targets[i, labels[i]] += own[i]
        targets[i, labels[partner]] += 1 - own[i]
    assert torch.allclose(y, targets, atol=1e-6)


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("pairing", PAIRINGS)
def test_equation_one(ResizeMix, per_sample: bool, pairing: str) -> None:
    """Through constant images one sees the mask: each pixel shows one image, and the label has the mask's mean."""
    mix = ResizeMix(4, pairing=pairing, per_sample=per_sample, prob=0.7)
    for seed in range(20):
        x, y = probe(mix, 4, 9, 14, generator=torch.Generator().manual_seed(seed))
        assert torch.allclose(x.sum(1), torch.ones(4, 9, 14, dtype=torch.float64))
        assert (x.mean((2, 3)) - y).abs().max() < 1e-6
        assert ((y > 0).sum(1) <= 2).all()


def test_scale_and_place_are_uniform(ResizeMix) -> None:
    """Oracle: scipy's uniform distribution over tau in [0.1, 0.8], Kolmogorov-Smirnov; the box lies at all places of
    its row equally often, chi squared. 5000 draws, p > 0.001 at a fixed seed."""
    draws = Draws(torch.Generator().manual_seed(0), "cpu")
    _, own, _ = ResizeMix(2).sample(5000, 1, 1000, draws)
    tau = (1 - own).numpy() + 1 / 2000  # in the middle of its pixel
    assert stats.kstest(tau, stats.uniform(0.1, 0.7).cdf).pvalue > 1e-3
    mask, *_ = ResizeMix(2, 0.5, 0.5).sample(5000, 8, 8, draws)
    lefts = ((1 - mask[:, 0]).amax(1).cumsum(1) == 0).sum(1)  # columns before the box
    assert stats.chisquare(lefts.bincount(minlength=5).numpy()).pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_keeps_type_and_layout_and_does_not_wait(ResizeMix, dtype, layout) -> None:
    """Oracle: every operation that would wait for a device is refused; pixels outside the box are the same bits."""
    images = torch.rand(6, 3, 8, 10, dtype=dtype).contiguous(memory_format=layout)
    labels = torch.randint(4, (6,))
    for per_sample in (False, True):
        mix = ResizeMix(4, per_sample=per_sample)
        with NoHostSync():
            x, _ = mix(images, labels, generator=torch.Generator().manual_seed(3))
        assert x.dtype == dtype
        assert x.is_contiguous(memory_format=layout)
        assert 0.36 <= float((x == images).float().mean()) < 1


def test_arguments_outside_their_range(ResizeMix) -> None:
    """A ValueError that names them."""
    for bounds in ((0, 0.5), (0.6, 0.5), (0.5, 1.1), (math.nan, 0.5)):
        with pytest.raises(ValueError, match="smallest"):
            ResizeMix(3, *bounds)


def test_it_trains_under_every_rule(ResizeMix) -> None:
    """As in the method matrix: three steps on noise, losses finite, the weights moved."""
    mix = ResizeMix(3, per_sample=True)
    for name in RULES:
        model = small_cnn(1, 3)
        rule = build_rule(name, model, **option_values("opt", name))
        before = [p.clone() for p in model.parameters()]
        for _ in range(3):
            x, y = mix(torch.randn(12, 1, 8, 8), torch.randint(3, (12,)))
            assert rule.step(lambda: LOSSES["cross_entropy"](model(x), y)).isfinite()  # noqa: B023
        assert any(not torch.equal(p, q) for p, q in zip(before, model.parameters(), strict=True)), name


def test_through_the_command_line(plugin_room: None, mixbench: Callable, workplace: Path) -> None:
    """Listed with its source; trained, shown as finished; its values checked; the record names plugin and knobs."""
    with_plugin = ("--plugin", PLUGIN)
    assert "Qin, Fang, Zhang" in mixbench("methods", "resizemix", *with_plugin).out
    command = ("train", "augment=resizemix", "augment.per_sample=true", "opt=sam", *TINY, *with_plugin)
    done = mixbench(*command)
    assert done.status == 0, done.err
    assert "finished" in mixbench(*command).out
    (run,) = Path("outputs/digits/small_cnn/resizemix-sam").iterdir()
    assert list(json.loads((run / "env.json").read_text())["plugins"]) == ["resizemix.py"]
    assert "largest: 0.8" in (run / "config.yaml").read_text()
    done = mixbench("train", "augment=resizemix", "augment.smallest=0.9", *with_plugin)
    assert (done.status, "must be <= augment.largest=0.8" in done.err) == (2, True)


def test_the_paper_as_in_the_option_file(plugin_room: None) -> None:
    """Oracle: section 4.1 of the paper, tau ~ U(0.1, 0.8)."""
    from mixbench.config.compose import compose

    with plugins.named([PLUGIN]):
        option = compose(["augment=resizemix"]).augment
    assert (option.smallest, option.largest) == (0.1, 0.8)


def test_packages_and_files_agree() -> None:
    """Each example's pyproject.toml names the module that --plugin loads, and packs all its files."""
    tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on
    for folder in sorted(path.parent for path in EXAMPLES.glob("*/pyproject.toml")):
        project = tomllib.loads((folder / "pyproject.toml").read_text())
        (module,) = project["project"]["entry-points"]["mixbench.plugins"].values()
        packed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
        assert f"{module}.py" in packed
        assert sorted(packed) == sorted(
            p.name for p in itertools.chain(*map(folder.glob, ("*.py", "*.yaml")))
        )
        assert (folder / "README.md").is_file()
