"""Every augment with every regularizer under every opt. Oracle: the base optimizer, given the final gradient."""

from __future__ import annotations

import copy
import functools
import itertools

import pytest
import torch
from probes import option_values
from sklearn.datasets import load_digits
from torch import Tensor, nn

from mixbench.augment import AUGMENTS
from mixbench.losses import LOSSES
from mixbench.models import small_cnn
from mixbench.optim import RULES
from mixbench.optim.build import build_rule
from mixbench.regularize import REGULARIZERS

OPTIONS = {
    ("opt", "looksam"): [{"k": 2}],
    ("opt", "bgmix"): [{"compute": "masked"}, {"compute": "subset"}],
    ("opt", "dgmix"): [{"decompose": "gradient"}, {"decompose": "logit"}],
    ("regularizer", "mixupe"): [
        {"variant": "paper"},
        {"variant": "official", "samples": "mixed"},
        {"variant": "exact"},
        {"forward": "batched"},
    ],
}


def choices(group: str, registry: dict) -> list[tuple[str, dict]]:
    """Every member with its defaults, and with each of its forms."""
    return [(name, form) for name in registry for form in OPTIONS.get((group, name), [{}])]


# What the members refuse, with a message (tested beside them).
IMPOSSIBLE = [
    lambda a, o, r: a == "manifold_mixup" and r.get("forward") == "batched",
    lambda a, o, r: a == "manifold_mixup" and o.get("compute") == "subset",
    lambda a, o, r: o.get("decompose") == "logit" and r.get("variant") == "exact",
]


def combinations() -> list:
    triples = itertools.product(AUGMENTS, choices("opt", RULES), choices("regularizer", REGULARIZERS))
    return [
        pytest.param(augment, opt, regularizer, id="-".join([augment, *name(opt), *name(regularizer)]))
        for augment, opt, regularizer in triples
        if not any(refused(augment, opt[1], regularizer[1]) for refused in IMPOSSIBLE)
    ]


def name(choice: tuple[str, dict]) -> list[str]:
    return [choice[0], *map(str, choice[1].values())]


@functools.cache
def all_digits() -> tuple[Tensor, Tensor]:
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 6 - 0.8, torch.tensor(labels)


def digits(step: int, size: int = 12) -> tuple[Tensor, Tensor]:
    """One batch of scikit-learn's handwritten digits, 8x8 pixels, roughly normalised."""
    images, labels = all_digits()
    rows = torch.arange(step * size, (step + 1) * size) % 1500
    return images[rows], labels[rows]


@pytest.mark.parametrize(("augment", "opt", "regularizer"), combinations())
def test_every_triple_trains(augment: str, opt: tuple[str, dict], regularizer: tuple[str, dict]) -> None:
    """Three steps on digits with a small net with BatchNorm. Losses are finite; after every step the weights
    are, bit for bit, what the base optimizer makes of the weights before it and the gradient that the rule left;
    no hook stays but those that were there; BatchNorm is in training and has counted one forward per forward of
    the first pass."""
    torch.manual_seed(0)
    model = small_cnn(1, 10)
    uses_model = {"model": model} if AUGMENTS[augment].uses_model else {}
    mix = AUGMENTS[augment](10, **uses_model, **option_values("augment", augment))
    objective = REGULARIZERS[regularizer[0]](**option_values("regularizer", regularizer[0]) | regularizer[1])
    rule = build_rule(opt[0], model, **option_values("opt", opt[0]) | opt[1])
    generator = torch.Generator().manual_seed(1)
    hooks = hook_count(model)
    moved_once = norm(model).num_batches_tracked.clone()
    for step in range(3):
        images, labels = digits(step)
        x, y = mix(images, labels, generator=generator)
        twin, optimizer = copy.deepcopy((model.state_dict(), rule.base.state_dict()))
        counts = []

        def closure() -> Tensor:
            losses, logits = objective(model, x, y, images, labels, LOSSES["cross_entropy"])  # noqa: B023
            assert losses.shape == (12,)
            assert logits.shape == (12, 10)
            counts.append(norm(model).num_batches_tracked.item())  # noqa: B023
            return losses

        loss = rule.step(closure)
        assert loss.isfinite()
        reference = small_cnn(1, 10)
        reference.load_state_dict(twin)
        base = type(rule.base)(reference.parameters(), lr=1.0, fused=True)
        base.load_state_dict(optimizer)
        for p, q in zip(reference.parameters(), model.parameters(), strict=True):
            p.grad = q.grad
        base.step()
        for (key, a), b in zip(model.named_parameters(), reference.parameters(), strict=True):
            assert torch.equal(a, b), key
        assert all(p.isfinite().all() for p in model.parameters())
        assert hook_count(model) == hooks
        assert norm(model).track_running_stats
        assert set(counts[1:]) <= {counts[0]}
    assert norm(model).num_batches_tracked > moved_once


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("augment", "opt", "regularizer"), combinations())
def test_no_step_waits_for_the_gpu(
    augment: str, opt: tuple[str, dict], regularizer: tuple[str, dict]
) -> None:
    """Oracle: CUDA's synchronisation debug mode, from the second step on (the first one sets up libraries)."""
    torch.manual_seed(0)
    model = small_cnn(1, 10).cuda()
    uses_model = {"model": model} if AUGMENTS[augment].uses_model else {}
    mix = AUGMENTS[augment](10, **uses_model, **option_values("augment", augment))
    objective = REGULARIZERS[regularizer[0]](**option_values("regularizer", regularizer[0]) | regularizer[1])
    rule = build_rule(opt[0], model, **option_values("opt", opt[0]) | opt[1])
    generator = torch.Generator("cuda").manual_seed(1)
    images, labels = (t.cuda() for t in digits(0))
    try:
        for mode in ("default", "error"):
            torch.cuda.set_sync_debug_mode(mode)
            x, y = mix(images, labels, generator=generator)
            with torch.autocast("cuda", torch.bfloat16):
                rule.step(lambda: objective(model, x, y, images, labels, LOSSES["cross_entropy"])[0])  # noqa: B023
    finally:
        torch.cuda.set_sync_debug_mode("default")


def norm(model: nn.Module) -> nn.BatchNorm2d:
    return next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d))


def hook_count(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize("augment", AUGMENTS)
def test_a_few_steps_learn(augment: str) -> None:
    """120 steps of each augment under SAM on 64 digits each: more than 95 % of the 1500 digits, unmixed, are
    right in evaluation mode."""
    torch.manual_seed(0)
    model = small_cnn(1, 10)
    uses_model = {"model": model} if AUGMENTS[augment].uses_model else {}
    mix = AUGMENTS[augment](10, **uses_model, **option_values("augment", augment))
    rule = build_rule("sam", model, **option_values("opt", "sam"))
    generator = torch.Generator().manual_seed(1)
    for step in range(120):
        x, y = mix(*digits(step, 64), generator=generator)
        rule.step(lambda: LOSSES["cross_entropy"](model(x), y))  # noqa: B023
    images, labels = digits(0, 1500)
    assert (model.eval()(images).argmax(1) == labels).double().mean() > 0.95


@pytest.mark.parametrize("name", sorted(set(AUGMENTS) - {"puzzlemix", "manifold_mixup"}))
def test_autocast_rounds_nothing_but_the_model(name: str) -> None:
    """Oracle: the same call without autocast, bit for bit. The loop mixes inside it, for those that ask the model."""
    mix = AUGMENTS[name](10)
    images, labels = torch.randn(8, 3, 16, 16), torch.arange(8)
    plain = mix(images, labels, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        inside = mix(images, labels, generator=torch.Generator().manual_seed(0))
    assert all(map(torch.equal, plain, inside))
