"""AutoAttack, against closed forms for linear networks and the attacks of our own."""

from __future__ import annotations

import sys

import pytest
import torch
from small_networks import STD, Small, images
from torch import Tensor, nn

from mixbench.analysis.autoattack import OfPixels, attacks, autoattack
from mixbench.analysis.evaluators import EVALUATORS, MissingPackage, installed
from mixbench.analysis.robustness import robustness
from mixbench.analysis.sample import PixelRange, drawn
from mixbench.errors import DataError

pytest.importorskip("torchattacks")
SHORT = {"n": 1000, "steps": 6, "queries": 20}


def network(seed: int, classes: int = 5, hidden: bool = False) -> Small:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = (
            [nn.Linear(192, 20), nn.ReLU(), nn.Linear(20, classes)] if hidden else [nn.Linear(192, classes)]
        )
        found = Small(nn.Sequential(nn.Flatten(), *layers), batch_size=64)
    found.class_names = [str(i) for i in range(classes)]
    return found


def labelled_by(model: nn.Module, n: int, seed: int, middle: bool = False):
    """Images with what the network takes them for as labels; from the middle of the pixel range if asked for."""
    found = images(n, side=8, seed=seed)
    if middle:
        found.images.copy_(96 + found.images // 4)
    x = torch.cat([batch for batch, _ in found.eval_batches(n)])
    with torch.no_grad():
        found.labels.copy_(model(x).argmax(1))
    return found


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_linear_network(norm: str) -> None:
    """Closed form: an image of a linear network withstands where its margin over every other class is above the size
    times the dual norm of the difference of the two classes' weights; the range of pixels stops no change here.
    """
    net = network(1)
    examples = labelled_by(net.model, 60, seed=1, middle=True)
    size = {"linf": 1.5, "l2": 15.0}[norm]
    given = {"linf": [], "l2": [], norm: [size]}
    found = autoattack(net, examples, **given, **SHORT)
    linear = net.model[1]
    x = torch.cat([batch for batch, _ in examples.eval_batches(60)])
    with torch.no_grad():
        logits, std = net.model(x), torch.tensor(STD).repeat_interleave(64)
        difference = (linear.weight[examples.labels][:, None] - linear.weight[None]) / std
        length = difference.abs().sum(2) if norm == "linf" else difference.norm(dim=2)
        margin = logits.gather(1, examples.labels[:, None]) - logits - size / 255 * length
        margin[torch.arange(60), examples.labels] = torch.inf
    withstand = 100 * (margin > 0).all(1).double().mean().item()
    assert 10 < withstand < 90
    assert found[f"{norm}_{size:g}"] == pytest.approx(withstand, abs=1e-9)
    assert found["clean"] == 100


def test_no_weaker_than_pgd_and_falling() -> None:
    """Oracles: PGD of our own with as many steps leaves no less right, up to one image of 60; the accuracy never rises
    from attack to attack, nor with the size; the second time it is the same; neither weights nor random numbers change.
    """
    net = network(0, hidden=True)
    examples = labelled_by(net.model, 60, seed=0)
    before = [parameter.clone() for parameter in net.model.parameters()]
    state = torch.get_rng_state()
    found = autoattack(net, examples, linf=[2, 6], l2=[24], **SHORT)
    ours = robustness(net, examples, n=60, linf=[2, 6], l2=[24], steps=6, step_size=2.5, restarts=1)
    for key, of_each in found["after"].items():
        falling = [found["clean"], *of_each.values()]
        assert falling == sorted(falling, reverse=True)
        assert found[key] == falling[-1] <= ours[f"pgd_{key}"] + 100 / 60 + 1e-9
        assert found[key] < found["clean"]
    assert found["linf_6"] <= found["linf_2"]
    assert torch.equal(torch.get_rng_state(), state)
    assert autoattack(net, examples, linf=[2, 6], l2=[24], **SHORT) == found
    assert all(p.requires_grad and p.grad is None for p in net.model.parameters())
    assert all(torch.equal(p, q) for p, q in zip(net.model.parameters(), before, strict=True))


@pytest.mark.parametrize(("norm", "size"), [("linf", 8 / 255), ("l2", 0.3)])
def test_changes_lie_in_the_ball_and_in_the_pixel_range(norm: str, size: float) -> None:
    """Oracle: the norms of what each of the four attacks returns; float32 rounds."""
    net = network(3, hidden=True)
    pixel_range = PixelRange(net)
    ((batch, labels),) = drawn(labelled_by(net.model, 12, seed=3), 12, 12)
    pixels = pixel_range.pixels(batch).contiguous()
    model = OfPixels(net, pixel_range).eval()
    with torch.random.fork_rng(devices=[]):
        for name, attack in attacks(model, norm, size, 5, steps=5, queries=20):
            attacked = attack(pixels, labels)
            change = (attacked - pixels).flatten(1)
            length = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
            assert length.max() <= size * (1 + 1e-4), name
            assert attacked.min() >= 0, name
            assert attacked.max() <= 1, name


def test_what_an_attack_returns_is_judged_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: an attack that leaves the ball and claims a success is put back into it, and counts for nothing where
    the network then takes the image for what it is.
    """
    net = network(4)
    examples = labelled_by(net.model, 20, seed=4)

    def far(pixels: Tensor, labels: Tensor) -> Tensor:
        return torch.rand_like(pixels) * 100 - 50

    monkeypatch.setattr("mixbench.analysis.autoattack.attacks", lambda *_, **__: iter([("far", far)]))
    found = autoattack(net, examples, linf=[1e-6], l2=[1e-6], **SHORT)
    assert (found["clean"], found["linf_1e-06"], found["l2_1e-06"]) == (100, 100, 100)


def test_too_few_classes() -> None:
    """One message: the targeted loss needs a fourth logit."""
    with pytest.raises(DataError, match="at least 4 classes; this one's are 3"):
        autoattack(network(0, classes=3), images(3), linf=[8], l2=[], **SHORT)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One message with the command that installs it; no other evaluation needs it."""
    monkeypatch.setitem(sys.modules, "torchattacks", None)
    monkeypatch.setattr("mixbench.analysis.evaluators.find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"autoattack: .* pip install 'mixbench\[attacks\]'"):
        installed(["accuracy", "autoattack"])
    installed([name for name in EVALUATORS if name != "autoattack"])
