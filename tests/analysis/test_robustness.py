"""Attacks, against closed forms for linear networks and what must hold for every network."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import STD, Small, images, networks
from torch import Tensor, nn
from torch.nn import functional as F

from mixbench.analysis.attacks import L2, Linf, Norm, climb, gradient, losses, one_step
from mixbench.analysis.robustness import robustness
from mixbench.analysis.sample import PixelRange, drawn
from mixbench.errors import DataError

OPTIONS = {
    "n": 1000,
    "linf": [1.0, 4.0, 16.0],
    "l2": [8.0, 64.0],
    "steps": 3,
    "step_size": 2.5,
    "restarts": 1,
}


def as_forward(model: nn.Module, batch: Tensor):
    std = torch.tensor(STD).view(-1, 1, 1)
    return lambda change: model(batch + change / std)


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10**6))
def test_what_holds_for_every_network(seed: int) -> None:
    """Oracles: the accuracy of a plain forward for `clean`; PGD never leaves more right, nor less loss, than FGSM, than
    no attack, or than PGD of a smaller size; no parameter has a gradient, and BatchNorm's statistics stay.
    """
    for model in networks(seed):
        network, examples = Small(model), images(23, seed=seed)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        found = robustness(network, examples, **OPTIONS)
        outputs = network.logits(examples)
        right = sum(int((logits.argmax(1) == y).sum()) for logits, y in outputs)
        loss = sum(F.cross_entropy(logits, y, reduction="sum").item() for logits, y in outputs)
        assert found["clean"] == pytest.approx(100 * right / 23, abs=1e-12)
        assert found["loss"]["clean"] == pytest.approx(loss / 23, rel=1e-6)
        for weaker, stronger in [
            *(("clean", f"pgd_{name}") for name in ("linf_1", "l2_8")),
            *((f"fgsm_{size}", f"pgd_linf_{size}") for size in (1, 4, 16)),
            *itertools.pairwise(["pgd_linf_1", "pgd_linf_4", "pgd_linf_16"]),
            ("pgd_l2_8", "pgd_l2_64"),
        ]:
            assert found[stronger] <= found[weaker]
            assert found["loss"][stronger] >= found["loss"][weaker]
        assert all(p.grad is None for p in model.parameters())
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_size_of_almost_nothing_is_no_attack() -> None:
    """Limiting case: changes far below the distance of two float32 numbers leave accuracy and loss as they are."""
    for model in networks(3):
        found = robustness(Small(model), images(30), **OPTIONS | {"linf": [1e-9], "l2": [1e-9]})
        names = ("fgsm_1e-09", "pgd_linf_1e-09", "pgd_l2_1e-09")
        assert {found[name] for name in names} == {found["clean"]}
        assert {found["loss"][name] for name in names} == {found["loss"]["clean"]}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([Linf, L2]), st.floats(0.2, 200))
def test_changes_lie_in_the_ball_and_in_the_pixel_range(seed: int, norm: Norm, size: float) -> None:
    """Oracle: the norms, of every iterate from one step and from a random place."""
    size /= 255
    _, model = networks(seed)
    ((batch, labels),) = drawn(images(6, seed=seed), 6, 6)
    pixels = PixelRange(Small(model)).pixels(batch)
    assert torch.equal(
        (pixels * 255).round().to(torch.uint8).permute(0, 2, 3, 1), images(6, seed=seed).images
    )
    forward, low, high = as_forward(model.eval(), batch), -pixels, 1 - pixels
    slope, *_ = gradient(forward, torch.zeros_like(batch), labels)
    generator = torch.Generator().manual_seed(seed)
    for start in (
        one_step(slope, norm, size, low, high),
        norm.random(pixels, size, generator).clamp(low, high),
    ):
        path = list(climb(forward, labels, start, norm, size, low, high, steps=3, step=size))
        assert len(path) == 4
        for change, loss, fooled in path:
            length = change.abs().amax((1, 2, 3)) if norm is Linf else change.flatten(1).norm(dim=1)
            assert length.max() <= size * (1 + 1e-6)
            assert (pixels + change).min() >= 0
            assert (pixels + change).max() <= 1
            expected = losses(forward, change, labels)
            assert torch.equal(fooled, expected[1])
            torch.testing.assert_close(loss, expected[0])


@pytest.mark.parametrize("norm", [Linf, L2])
def test_a_linear_network(norm: Norm) -> None:
    """Closed form: of two classes, the margin w.x + b of a linear network falls by size ||w||_1 or size ||w||_2 in
    pixels, from the middle of the range, in one step and in many.
    """
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).double()
    batch = torch.zeros(4, 3, 4, 4, dtype=torch.float64)
    labels = torch.tensor([0, 1, 0, 1])
    low, high = torch.full_like(batch, -0.5), torch.full_like(batch, 0.5)
    std = torch.tensor(STD, dtype=torch.float64).view(-1, 1, 1)
    linear = model[1]
    w = (linear.weight[1] - linear.weight[0]).detach().view(3, 4, 4) / std
    b = (linear.bias[1] - linear.bias[0]).item()
    size = 8 / 255
    fall = size * (w.abs().sum() if norm is Linf else w.norm()).item()
    expected = F.softplus(torch.tensor([fall + b, fall - b] * 2, dtype=torch.float64))

    def forward(change: Tensor) -> Tensor:
        return model(batch + change / std)

    slope, *_ = gradient(forward, batch, labels)
    change = one_step(slope, norm, size, low, high)
    torch.testing.assert_close(losses(forward, change, labels)[0].double(), expected, rtol=1e-6, atol=0)
    far = norm.random(batch, size, torch.Generator().manual_seed(0))
    *_, (_, loss, _) = climb(forward, labels, far, norm, size, low, high, steps=200, step=size / 20)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-4, atol=0)


def test_random_places_are_uniform_in_the_ball() -> None:
    """Closed form: of radius 1 in d dimensions, the mean length is d / (d + 1); of the maximum norm the same."""
    like, generator = torch.zeros(20_000, 1, 1, 3), torch.Generator().manual_seed(0)
    for norm in (L2, Linf):
        place = norm.random(like, 1.0, generator).flatten(1)
        length = place.norm(dim=1) if norm is L2 else place.abs().amax(1)
        assert length.mean().item() == pytest.approx(0.75, abs=0.005)
        torch.testing.assert_close(place.mean(0), torch.zeros(3), atol=0.02, rtol=0)


def test_where_there_is_no_way_up() -> None:
    """Limiting case: a constant network, whose gradient is 0: no step is taken, and nothing becomes NaN."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    nn.init.zeros_(model[1].weight)
    found = robustness(Small(model), images(9), **OPTIONS)
    assert len(set(found["loss"].values())) == 1
    assert found["pgd_l2_64"] == found["clean"]


def test_float_images_have_no_pixel_range() -> None:
    """One message; their units are unknown."""
    network = Small(next(networks(0)))
    network.stored = "float32"
    with pytest.raises(DataError, match="stored as bytes"):
        robustness(network, images(3), **OPTIONS)


def test_drawn_examples() -> None:
    """By hand: all of a smaller set in its order; else as many different ones, in order, the same each time."""
    some = images(20)
    labels = torch.cat([y for _, y in drawn(some, 100, 6)])
    assert torch.equal(labels, some.labels)
    inputs = [x for x, _ in drawn(some, 9, 4)]
    assert [len(x) for x in inputs] == [4, 4, 1]
    whole = torch.cat([x for x, _ in some.eval_batches(20)])
    places = [next(i for i, x in enumerate(whole) if torch.equal(x, y)) for y in torch.cat(inputs)]
    assert places == sorted(set(places))
    assert torch.equal(torch.cat([x for x, _ in drawn(some, 9, 20)]), torch.cat(inputs))
