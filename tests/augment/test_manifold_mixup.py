"""Manifold Mixup. Oracles: the forward pass written out stage by stage, Mixup as the limit of no stages."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from probes import NoHostSync
from scipy import stats
from torch import Tensor, nn

from mixbench.augment import ManifoldMixup, Mixup
from mixbench.augment.draws import Draws
from mixbench.losses import cross_entropy
from mixbench.models import small_cnn
from mixbench.optim import SAM, BGMix
from mixbench.regularize import MixupE


def net() -> nn.Module:
    torch.manual_seed(0)
    return small_cnn(1, 10)


def batch(size: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(size, 1, 8, 8, generator=generator), torch.arange(size)


def at_stage(monkeypatch: pytest.MonkeyPatch, stage: int) -> None:
    monkeypatch.setattr(Draws, "choice", lambda self, count: stage)


def written_out(model: nn.Module, images: Tensor, stage: int, lam: Any) -> Tensor:
    """Mix with the batch in reverse order at the input (0) or after a stage, then go on."""
    weight = torch.as_tensor(lam).float().view(-1, 1, 1, 1)
    hidden = images
    if stage == 0:
        hidden = weight * hidden + (1 - weight) * hidden.flip(0)
    for name, module in model.named_children():
        hidden = module(hidden)
        if name == f"stage{stage}":
            hidden = weight * hidden + (1 - weight) * hidden.flip(0)
    return hidden


@pytest.mark.parametrize("stage", [0, 1, 2])
@pytest.mark.parametrize("lam", [0.3, torch.linspace(0, 1, 6)])
def test_mixes_after_the_chosen_stage(
    monkeypatch: pytest.MonkeyPatch, stage: int, lam: float | Tensor
) -> None:
    """Oracle: the stages run one by one; logits and gradients of all weights, for one ratio and one each."""
    at_stage(monkeypatch, stage)
    model, (images, labels) = net(), batch()
    twin = copy.deepcopy(model)
    mix = ManifoldMixup(10, model=model, pairing="flip")
    x, y = mix(images, labels, lam=lam)
    logits, expected = model(x), written_out(twin, images, stage, lam)
    assert torch.allclose(logits, expected, atol=1e-6)
    weight = torch.as_tensor(lam).float().view(-1, 1)
    assert torch.allclose(y, weight * torch.eye(6, 10) + (1 - weight) * torch.eye(6, 10).flip(0), atol=1e-6)
    cross_entropy(logits, y).mean().backward()
    cross_entropy(expected, y).mean().backward()
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(p.grad, q.grad, atol=1e-6)


def test_without_stages_it_is_mixup() -> None:
    """stages=0: the model sees what Mixup gives, with the same draws after the choice of the stage."""
    model, (images, labels) = net(), batch()
    twin = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(3)
    x, y = ManifoldMixup(10, model=model, stages=0)(images, labels, generator=generator)
    generator = torch.Generator().manual_seed(3)
    Draws(generator, "cpu").choice(1)
    expected, targets = Mixup(10, 2.0)(images, labels, generator=generator)
    assert torch.equal(y, targets)
    assert torch.equal(model(x), twin(expected))


def test_only_the_mixed_batch_is_mixed() -> None:
    """The same images as a clean batch, before and after, in training and in evaluation mode, are not."""
    model, (images, labels) = net(), batch()
    clean = copy.deepcopy(model).eval()(images)
    mix = ManifoldMixup(10, model=model)
    for _ in range(5):
        x, _ = mix(images, labels, lam=0.5)
        assert x is not images
        assert torch.equal(x, images)
        model.eval()
        assert torch.equal(model(images), clean)
        assert not torch.allclose(model(x), clean)
        assert torch.equal(model(images), clean)
        model.train()


def test_a_stage_run_by_itself_is_not_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after the mixed batch went through, and when the model failed behind the stage."""
    at_stage(monkeypatch, 1)
    model, (images, labels) = net(), batch()
    hidden = torch.randn(6, 32, 8, 8)
    expected = copy.deepcopy(model.stage1)(hidden)
    x, _ = ManifoldMixup(10, model=model)(images, labels, lam=0.5)
    model(x)
    assert torch.equal(model.stage1(hidden), expected)
    model.stage2.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model(x)
    assert torch.equal(model.stage1(hidden), expected)


def test_both_passes_of_sam_mix_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of the second pass is that of the mixed loss at w + delta, written out."""
    at_stage(monkeypatch, 1)
    model, (images, labels) = net().double(), batch()
    twin = copy.deepcopy(model)
    x, y = ManifoldMixup(10, model=model, pairing="flip")(images.double(), labels, lam=0.3)

    def gradient() -> list[Tensor]:
        loss = cross_entropy(written_out(twin, images.double(), 1, 0.3), y).mean()
        return list(torch.autograd.grad(loss, list(twin.parameters())))

    first = gradient()
    norm = torch.cat([g.flatten() for g in first]).norm()
    with torch.no_grad():
        for p, g in zip(twin.parameters(), first, strict=True):
            p += 0.2 * g / norm
    SAM(model, torch.optim.SGD(model.parameters(), lr=0.0), rho=0.2).step(lambda: cross_entropy(model(x), y))
    for p, g in zip(model.parameters(), gradient(), strict=True):
        # The ratio is float64 here and float32 in the reference.
        assert torch.allclose(p.grad, g, atol=1e-7)


def test_stages_are_drawn_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chi-square over input, stage1, stage2; p > 0.001."""
    model, (images, labels) = net(), batch()
    mix, generator = ManifoldMixup(10, model=model), torch.Generator().manual_seed(0)
    counts = [0, 0, 0]
    for _ in range(600):
        mix(images, labels, generator=generator)
        counts[mix._stage] += 1
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("options", [{"prob": 0.0}, {"per_sample": True, "prob": 0.0}])
def test_prob_zero_mixes_nothing(options: dict) -> None:
    """Clean logits, bit for bit, and one-hot labels."""
    model, (images, labels) = net(), batch()
    twin = copy.deepcopy(model)
    x, y = ManifoldMixup(10, model=model, **options)(images, labels)
    assert torch.equal(model(x), twin(images))
    assert torch.equal(y, torch.eye(6, 10))


def test_under_autocast_hidden_states_are_mixed_in_their_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 hidden states stay bfloat16; logits within its rounding of float32's."""
    at_stage(monkeypatch, 2)
    model, (images, labels) = net(), batch()
    mix = ManifoldMixup(10, model=model, pairing="flip")
    x, _ = mix(images, labels, lam=0.3)
    expected = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(x)
    assert logits.dtype == torch.bfloat16
    assert torch.allclose(logits.float(), expected, atol=0.1)


def test_another_batch_first_is_an_error() -> None:
    """A joined or copied batch would go through unmixed, with mixed labels: refused in training."""
    model, (images, labels) = net(), batch()
    mix = ManifoldMixup(10, model=model)
    x, y = mix(images, labels)
    with pytest.raises(RuntimeError, match="forward=batched"):
        MixupE(forward="batched")(model, x, y, images, labels, cross_entropy)
    model.eval()
    model(images)  # evaluation may come at any time
    model.train()
    MixupE()(model, x, y, images, labels, cross_entropy)


def test_a_part_of_the_batch_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The partners of B+ lie outside of it, so BG-Mix cannot run it alone after a stage."""
    at_stage(monkeypatch, 1)
    model, (images, labels) = net(), batch()
    mix = ManifoldMixup(10, model=model)
    x, y = mix(images, labels)
    rule = BGMix(model, torch.optim.SGD(model.parameters(), lr=0.1), compute="subset")
    with pytest.raises(RuntimeError, match="3 of 6 examples"):
        rule.step(lambda: cross_entropy(model(x), y))


def test_a_model_without_the_stages_is_refused() -> None:
    """A ValueError that names them."""
    with pytest.raises(ValueError, match="stage3, stage4"):
        ManifoldMixup(10, model=net(), stages=4)
    with pytest.raises(ValueError, match="stages=-1"):
        ManifoldMixup(10, model=net(), stages=-1)


def test_nothing_waits_for_the_device() -> None:
    """No value is read back to the host, in the call and in the forward pass."""
    model, (images, labels) = net(), batch()
    mix = ManifoldMixup(10, model=model, per_sample=True, prob=0.5)
    with NoHostSync():
        x, _ = mix(images, labels)
        model(x)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_rows_of_a_table(monkeypatch: pytest.MonkeyPatch, stage: int) -> None:
    """Oracle: layers run one by one, for a network of rows (B, 7)."""
    at_stage(monkeypatch, stage)
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("stage1", nn.Sequential(nn.Linear(7, 5), nn.Tanh()))
    model.add_module("stage2", nn.Sequential(nn.Linear(5, 4), nn.Tanh()))
    model.add_module("head", nn.Linear(4, 3))
    twin, rows = copy.deepcopy(model), torch.randn(6, 7)
    x, y = ManifoldMixup(3, model=model, pairing="flip")(rows, torch.arange(6) % 3, lam=0.3)
    hidden = rows
    for i, layer in enumerate([nn.Identity(), *twin]):
        hidden = layer(hidden)
        hidden = 0.3 * hidden + 0.7 * hidden.flip(0) if i == stage else hidden
    assert torch.equal(x, rows)
    assert torch.allclose(model(x), hidden, atol=1e-6)
    own = torch.eye(3)[torch.arange(6) % 3]
    assert torch.allclose(y, 0.3 * own + 0.7 * own.flip(0))
