"""MixupE. Oracles: equations 4 to 9 of Zou et al. written out, finite differences, the case q = q-hat."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from probes import NoHostSync, make_net
from torch import Tensor, nn

from mixbench.augment import CutMix, Mixup, NoMix
from mixbench.augment.draws import Draws
from mixbench.losses import LOSSES, cross_entropy, one_hot
from mixbench.optim import SAM, BGMix, DGMix
from mixbench.regularize import MixupE, NoRegularizer


def batch(mix: Callable | None = None, size: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mixed batch, soft targets, original batch, labels; float64."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(size, 1, 8, 8, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (size,), generator=generator)
    x, y = (mix or Mixup(3))(images, labels, lam=0.3, generator=generator)
    return x, y, images, labels


def smooth_net(bias: bool = True) -> nn.Module:
    """Without BatchNorm, and with derivatives of every order."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12, bias), nn.Tanh(), nn.Linear(12, 3, bias)).double()


def relu_net() -> nn.Module:
    """Bias-free: f(x) = J_f(x) x."""
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(1, 4, 3, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(144, 8, bias=False),
        nn.ReLU(),
    ]
    return nn.Sequential(*layers, nn.Linear(8, 3, bias=False)).double()


def by_the_equations(net: nn.Module, arguments: tuple, eta: float, alpha: float, q: Tensor) -> Tensor:
    """Equations 7 to 9 for given q, as one number."""
    x, y, _, _ = arguments
    mixed = cross_entropy(net(x), y).mean()
    penalty = (1 - (alpha + 1) / (2 * alpha + 1)) * q.abs().mean()
    scale = (mixed.abs() / (mixed + eta * penalty).abs()).detach()
    return scale * (mixed + eta * penalty)


def gradients(value: Tensor, net: nn.Module) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(net.parameters()))])


@settings(deadline=None, max_examples=25)
@given(
    eta=st.floats(0, 2),
    alpha=st.floats(0.05, 5),
    samples=st.sampled_from(["original", "mixed"]),
    forward=st.sampled_from(["separate", "batched"]),
    mixed_by=st.sampled_from([Mixup(3), CutMix(3), NoMix(3)]),
)
def test_paper_variant_equals_the_equations(eta, alpha, samples, forward, mixed_by) -> None:
    """Oracle: equations 5 and 7 to 9 in value and in the gradient of all weights, for any eta and alpha."""
    net, arguments = smooth_net(), batch(mixed_by)
    x, y, images, labels = arguments
    logits = net(x if samples == "mixed" else images)
    targets = y.double() if samples == "mixed" else nn.functional.one_hot(labels, 3)
    q = ((targets - logits.softmax(1)) * logits).sum(1)
    expected = by_the_equations(net, arguments, eta, alpha, q)
    objective = MixupE(eta, alpha, samples=samples, forward=forward)
    losses, mixed_logits = objective(net, *arguments, cross_entropy)
    assert losses.shape == (6,)
    assert torch.allclose(mixed_logits, net(x))
    assert torch.allclose(losses.mean(), expected)
    assert torch.allclose(gradients(losses.mean(), net), gradients(expected, net), atol=1e-12)


@pytest.mark.parametrize("samples", ["original", "mixed"])
@pytest.mark.parametrize("given_mean", [False, True])
def test_exact_variant_is_the_directional_derivative(samples: str, given_mean: bool) -> None:
    """Equation 4 by central differences along (mean image - x_i), error below 1e-7."""
    net, (x, y, images, labels) = smooth_net(), batch()
    probed = x if samples == "mixed" else images
    targets = y if samples == "mixed" else one_hot(labels, 3)
    mean = torch.randn(1, 8, 8, dtype=torch.float64) if given_mean else probed.mean(0)
    with torch.no_grad():
        step = 1e-5 * (mean - probed)
        derivative = (net(probed + step) - net(probed - step)) / 2e-5
        q = ((net(probed).softmax(1) - targets) * derivative).sum(1)
    objective = MixupE(
        0.7, variant="exact", samples=samples, rescale=False, mean_image=mean if given_mean else None
    )
    losses, logits = objective(net, x, y, images, labels, cross_entropy)
    assert torch.allclose(losses - cross_entropy(logits, y), 0.7 / 3 * q.abs(), atol=1e-7)


@pytest.mark.parametrize("variant", ["paper", "exact", "official"])
@pytest.mark.parametrize("samples", ["original", "mixed"])
def test_gradients_against_finite_differences(variant: str, samples: str) -> None:
    """Central differences in float64 of the mean loss (without the factor c, which is held constant), for every
    weight of the first and the last layer."""
    net, arguments = smooth_net(), batch()
    objective = MixupE(0.5, variant=variant, samples=samples, rescale=False)
    gradient = torch.autograd.grad(
        objective(net, *arguments, cross_entropy)[0].mean(), list(net.parameters())
    )
    for parameter, g in zip(net.parameters(), gradient, strict=True):
        for i in range(0, parameter.numel(), 17):
            values = []
            for step in (1e-5, -2e-5):
                parameter.data.view(-1)[i] += step
                values.append(objective(net, *arguments, cross_entropy)[0].mean().item())
            parameter.data.view(-1)[i] += 1e-5
            assert g.view(-1)[i].item() == pytest.approx((values[0] - values[1]) / 2e-5, abs=1e-7)


@pytest.mark.parametrize("detach", [True, False])
def test_exact_against_the_released_version_2(detach: bool) -> None:
    """Oracle: version 2 of the authors' code, written out as it stands. Detached, the value and the gradient of all
    weights are its own; otherwise only the value is, and the gradient is that of equation 7."""
    net, (x, y, images, labels) = smooth_net(), batch()
    mean = torch.randn(1, 8, 8, dtype=torch.float64)
    probed = images.clone().detach().requires_grad_()
    f = net(probed)
    b = (torch.softmax(f, dim=1) - one_hot(labels, 3)).detach()
    (grad,) = torch.autograd.grad((f * b).sum(), probed, create_graph=True)
    delta = (mean - probed).detach()
    released = 0.5 * (1 - (1 + 1) / (1 + 1 + 1)) * (grad * delta).sum((1, 2, 3)).abs().sum() / len(images)
    objective = MixupE(0.5, variant="exact", detach=detach, rescale=False, mean_image=mean)
    losses, logits = objective(net, x, y, images, labels, cross_entropy)
    extra = (losses - cross_entropy(logits, y)).mean()
    assert torch.allclose(extra, released)
    ours = torch.autograd.grad(extra, list(net.parameters()), retain_graph=True)
    theirs = torch.autograd.grad(released, list(net.parameters()), allow_unused=True)
    pairs = [(a, torch.zeros_like(a) if b is None else b) for a, b in zip(ours, theirs, strict=True)]
    assert all(torch.allclose(a, b) for a, b in pairs) == detach


def test_exact_equals_approximate_for_a_bias_free_relu_net_and_zero_mean() -> None:
    """J_f(x) x = f(x) there, so equation 4 with mean image 0 is equation 5."""
    net, arguments = relu_net(), batch()
    zero = torch.zeros(1, 8, 8, dtype=torch.float64)
    exact, _ = MixupE(0.3, variant="exact", mean_image=zero)(net, *arguments, cross_entropy)
    paper, _ = MixupE(0.3)(net, *arguments, cross_entropy)
    assert torch.allclose(exact, paper, atol=1e-12)
    assert torch.allclose(gradients(exact.mean(), net), gradients(paper.mean(), net), atol=1e-12)


def test_official_variant() -> None:
    """L_mix - eta E[1-lambda] sum_(q_i < threshold) q_i / B, signed; and c keeps the size of L_mix."""
    net, arguments = smooth_net(), batch(size=40)
    x, y, images, labels = arguments
    net[3].weight.data *= 5  # some q above the threshold, some below, of both signs
    logits = net(images)
    q = ((one_hot(labels, 3) - logits.softmax(1)) * logits).sum(1)
    assert (q > 0.2).any()
    assert ((q > 0) & (q < 0.2)).any()
    assert (q < 0).any()
    mixed = cross_entropy(net(x), y).mean()
    expected = mixed - 0.5 / 3 * q[q < 0.2].sum() / 40
    losses, _ = MixupE(0.5, variant="official", threshold=0.2, rescale=False)(net, *arguments, cross_entropy)
    assert torch.allclose(losses.mean(), expected)
    losses, _ = MixupE(0.5, variant="official", threshold=0.2)(net, *arguments, cross_entropy)
    assert torch.allclose(losses.mean(), expected * (mixed / expected).abs().detach())


@pytest.mark.parametrize("variant", ["paper", "exact", "official"])
@pytest.mark.parametrize("loss", LOSSES.values())
def test_the_rescaled_value_is_that_of_the_mixed_loss(variant: str, loss: Callable) -> None:
    """|L| = |L_mix| by equation 9, whatever eta."""
    net, arguments = smooth_net(), batch()
    losses, logits = MixupE(0.9, variant=variant)(net, *arguments, loss)
    assert losses.mean().abs().item() == pytest.approx(loss(logits, arguments[1]).mean().abs().item())


@pytest.mark.parametrize("options", [{}, {"variant": "exact"}, {"variant": "official"}, {"samples": "mixed"}])
def test_eta_zero_is_the_plain_loss(options: dict) -> None:
    """Limit eta = 0: losses bit for bit, and gradients."""
    net, arguments = smooth_net(), batch()
    losses, logits = MixupE(0.0, **options)(net, *arguments, cross_entropy)
    expected, expected_logits = NoRegularizer()(net, *arguments, cross_entropy)
    assert torch.equal(losses, expected)
    assert torch.equal(logits, expected_logits)
    assert torch.allclose(gradients(losses.mean(), net), gradients(expected.mean(), net), atol=1e-15)


def test_alpha_to_zero_is_the_plain_loss() -> None:
    """E[1-lambda] = alpha / (2 alpha + 1) vanishes with alpha, and the extra loss with it."""
    assert MixupE(alpha=1.0).mean_weight == pytest.approx(1 / 3)
    assert MixupE(alpha=0.2).mean_weight == pytest.approx(1 / 7)
    net, arguments = smooth_net(), batch()
    losses, _ = MixupE(1.0, alpha=1e-9)(net, *arguments, cross_entropy)
    assert torch.allclose(losses, NoRegularizer()(net, *arguments, cross_entropy)[0], atol=1e-8)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (5.0, 0.5), (0.2, 2.0), (0.05, 0.1), (7.0, 3.0)])
def test_the_factor_is_the_expectation_over_the_papers_mixture(alpha: float, beta: float) -> None:
    """E[1-lambda] by Monte Carlo, 200000 draws, 4 standard deviations: under Beta(alpha + 1, beta) with probability
    alpha / (alpha + beta), else Beta(beta + 1, alpha); and as E[2 lambda (1-lambda)] over what Mixup draws."""
    generator, n = np.random.default_rng(0), 200_000
    first = generator.random(n) < alpha / (alpha + beta)
    mixture = np.where(first, generator.beta(alpha + 1, beta, n), generator.beta(beta + 1, alpha, n))
    lam = Draws(torch.Generator().manual_seed(0), "cpu").beta(alpha, n, beta).numpy()
    weight = MixupE(alpha=alpha, beta=beta).mean_weight
    for drawn in (1 - mixture, 2 * lam * (1 - lam)):
        assert abs(drawn.mean() - weight) < 4 * drawn.std() / math.sqrt(n)


@given(alpha=st.floats(1e-6, 1e6), beta=st.floats(1e-6, 1e6))
def test_the_factor_for_two_shapes(alpha: float, beta: float) -> None:
    """2 alpha beta / ((alpha + beta) (alpha + beta + 1)), the same with the shapes swapped; and for equal shapes
    alpha / (2 alpha + 1) bit for bit, beta given or not."""
    expected = 2 * alpha * beta / ((alpha + beta) * (alpha + beta + 1))
    assert MixupE(alpha=alpha, beta=beta).mean_weight == pytest.approx(expected, rel=1e-14)
    assert MixupE(alpha=beta, beta=alpha).mean_weight == pytest.approx(expected, rel=1e-14)
    assert MixupE(alpha=alpha).mean_weight == MixupE(alpha=alpha, beta=alpha).mean_weight
    assert MixupE(alpha=alpha).mean_weight == alpha / (2 * alpha + 1)


def test_either_shape_to_zero_is_the_plain_loss() -> None:
    """E[1-lambda] vanishes with beta as with alpha: the ratio is then always 1, or always 0."""
    net, arguments = smooth_net(), batch()
    plain = NoRegularizer()(net, *arguments, cross_entropy)[0]
    for shapes in ({"alpha": 5.0, "beta": 1e-9}, {"alpha": 1e-9, "beta": 5.0}):
        losses, _ = MixupE(1.0, **shapes)(net, *arguments, cross_entropy)
        assert torch.allclose(losses, plain, atol=1e-8)


@pytest.mark.parametrize("variant", ["paper", "exact", "official"])
def test_rows_of_a_table(variant: str) -> None:
    """Oracle: the same numbers as images of one pixel, (B, 5) and (B, 5, 1, 1)."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    rows, labels = torch.randn(6, 5, dtype=torch.float64), torch.arange(6) % 3
    x, y = Mixup(3, pairing="flip")(rows, labels, lam=0.3)
    found, expected = (
        MixupE(0.5, variant=variant)(net, *call, cross_entropy)
        for call in ((x, y, rows, labels), (x[..., None, None], y, rows[..., None, None], labels))
    )
    assert all(map(torch.allclose, found, expected))


@pytest.mark.parametrize(
    ("mix", "options", "sizes"),
    [
        (Mixup(3), {}, [6, 6]),
        (Mixup(3), {"forward": "batched"}, [12]),
        (Mixup(3), {"samples": "mixed"}, [6]),
        (NoMix(3), {}, [6]),
        (NoMix(3), {"forward": "batched"}, [6]),
        (NoMix(3), {"variant": "exact"}, [6]),
    ],
)
def test_number_of_forwards(mix: Callable, options: dict, sizes: list[int]) -> None:
    """Two for mixed and original batch, one when they are joined or the same."""
    net, arguments = smooth_net(), batch(mix)
    seen: list[int] = []
    net.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    MixupE(**options)(net, *arguments, cross_entropy)
    assert seen == sizes


def test_batched_normalises_over_both_batches() -> None:
    """One move of BatchNorm's running mean, by the mean over mixed and original images; separate: two moves."""
    x, y, images, labels = (t.float() if t.is_floating_point() else t for t in batch())
    for forward, moves in (("batched", 1), ("separate", 2)):
        net = make_net()
        reference = copy.deepcopy(net)
        MixupE(forward=forward)(net, x, y, images, labels, cross_entropy)
        for part in [torch.cat([x, images])] if moves == 1 else [x, images]:
            reference(part)
        assert net[1].num_batches_tracked == moves
        assert torch.allclose(net[1].running_mean, reference[1].running_mean)


def test_inputs_are_left_as_they_are() -> None:
    """The exact variant asks for no gradient of the caller's tensors."""
    net, (x, y, images, labels) = smooth_net(), batch(NoMix(3))
    MixupE(variant="exact")(net, x, y, images, labels, cross_entropy)
    assert not images.requires_grad
    assert images.grad is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("variant", ["paper", "exact", "official"])
def test_a_fitted_batch_stays_finite(dtype: torch.dtype, variant: str) -> None:
    """Logits of 1e4 for the right class: all losses are zero, 0/0 in c; loss and gradient are finite."""
    weight = 1e4 * torch.eye(3)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3, 3, bias=False)).to(dtype)
    net[1].weight.data = weight.to(dtype)
    labels = torch.tensor([0, 1, 2])
    images = torch.eye(3, dtype=dtype)[:, None, None]
    x, y = NoMix(3)(images, labels)
    losses, _ = MixupE(0.1, variant=variant)(net, x, y, images, labels, cross_entropy)
    assert losses.dtype == torch.float32
    assert losses.isfinite().all()
    assert gradients(losses.mean(), net).isfinite().all()


@pytest.mark.parametrize(
    "options", [{}, {"variant": "exact"}, {"variant": "official"}, {"forward": "batched"}]
)
def test_nothing_waits_for_the_device(options: dict) -> None:
    """No value is read back to the host, forward and backward."""
    net, arguments = smooth_net(), batch()
    with NoHostSync():
        losses, _ = MixupE(**options)(net, *arguments, cross_entropy)
        losses.mean().backward()


@pytest.mark.parametrize(
    "options", [{}, {"variant": "exact"}, {"variant": "official"}, {"forward": "batched"}]
)
def test_under_autocast_it_is_close_to_float32(options: dict) -> None:
    """bfloat16 forwards: losses in float32, within 3 % of those without autocast; gradients within 5 %."""
    net, (x, y, images, labels) = smooth_net().float(), batch()
    arguments = (x.float(), y, images.float(), labels)
    expected, _ = MixupE(0.5, **options)(net, *arguments, cross_entropy)
    with torch.autocast("cpu", torch.bfloat16):
        losses, logits = MixupE(0.5, **options)(net, *arguments, cross_entropy)
    assert (losses.dtype, logits.dtype) == (torch.float32, torch.bfloat16)
    assert torch.allclose(losses, expected, rtol=0.03)
    low, full = gradients(losses.mean(), net), gradients(expected.mean(), net)
    assert (low - full).norm() < 0.05 * full.norm()


def sgd(net: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(net.parameters(), lr=0.1)


@pytest.mark.parametrize("variant", ["paper", "exact", "official"])
@pytest.mark.parametrize("forward", ["separate", "batched"])
def test_selection_sees_the_extra_loss(variant: str, forward: str) -> None:
    """Under BG-Mix the extra loss counts in the examples' losses, so masked and subset forms, which select by
    them, agree (no BatchNorm, float64). The factor c of the exact variant, in which the dropped examples'
    derivatives are not computed again, is left out."""
    net, arguments = smooth_net(), batch()
    twin = copy.deepcopy(net)
    objective = MixupE(0.5, variant=variant, forward=forward, rescale=variant != "exact")
    for model, compute in ((net, "masked"), (twin, "subset")):
        rule = BGMix(model, sgd(model), compute=compute)
        rule.step(lambda: objective(model, *arguments, cross_entropy)[0])  # noqa: B023
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-12)


def test_logit_decomposition_with_the_exact_variant_is_refused() -> None:
    """The exact variant's losses are no function of the logits alone; DG-Mix in parameter space takes them."""
    net, arguments = smooth_net(), batch()
    objective = MixupE(variant="exact")
    DGMix(net, sgd(net)).step(lambda: objective(net, *arguments, cross_entropy)[0])
    with pytest.raises(ValueError, match="decompose=gradient"):
        DGMix(net, sgd(net), decompose="logit").step(lambda: objective(net, *arguments, cross_entropy)[0])


def test_under_sam_both_passes_have_the_extra_loss() -> None:
    """SAM's final gradient is that of L at w + delta, with delta from L at w."""
    net, arguments = smooth_net(), batch()
    twin, objective = copy.deepcopy(net), MixupE(0.5)
    g = gradients(objective(twin, *arguments, cross_entropy)[0].mean(), twin)
    with torch.no_grad():
        for p, part in zip(twin.parameters(), g.split([p.numel() for p in twin.parameters()]), strict=True):
            p += 0.2 * part.view_as(p) / g.norm()
    expected = gradients(objective(twin, *arguments, cross_entropy)[0].mean(), twin)
    SAM(net, sgd(net), rho=0.2).step(lambda: objective(net, *arguments, cross_entropy)[0])
    assert torch.allclose(torch.cat([p.grad.flatten() for p in net.parameters()]), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"eta": -1.0}, "eta=-1.0"),
        ({"eta": float("inf")}, "eta=inf"),
        ({"alpha": 0.0}, "alpha=0.0"),
        ({"beta": 0.0}, "beta=0.0"),
        ({"beta": float("nan")}, "beta=nan"),
        ({"variant": "v3"}, "variant=v3"),
        ({"samples": "clean"}, "samples=clean"),
        ({"forward": "joint"}, "forward=joint"),
    ],
)
def test_arguments_outside_their_range_are_refused(options: dict, named: str) -> None:
    """A ValueError that names the argument and what was given."""
    with pytest.raises(ValueError, match=named):
        MixupE(**options)
