"""The hand-written loop that benchmarks compare with trains the same thing."""

from __future__ import annotations

import copy
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms import v2

from mixbench.bench import handmade
from mixbench.bench.plain import plain_subject
from mixbench.bench.subjects import configured, made_up
from mixbench.data.images import ImageSet
from mixbench.errors import ConfigError
from mixbench.machine.devices import autocast
from mixbench.models import MODELS
from mixbench.optim import SAM, Descent
from mixbench.schema.specs import find

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
CPU = torch.device("cpu")


@pytest.fixture
def images() -> tuple[np.ndarray, np.ndarray]:
    split = made_up(find("cifar100"), 40).train
    return split.inputs, split.labels


def test_batches_are_the_same_images(images: tuple[np.ndarray, np.ndarray]) -> None:
    """Oracle: ImageSet without crop and flip, image by image, to float32 rounding; labels say which image is which."""
    pixels, _ = images
    names = np.arange(40)
    loader = handmade.loader(
        pixels, names, MEAN, STD, batch_size=8, crop_padding=0, flip=False, device=CPU, workers=0
    )
    ours = ImageSet(pixels, names, mean=MEAN, std=STD)
    seen = []
    for batch, labels in loader:
        expected, _ = ours.batch((labels,), None)
        torch.testing.assert_close(batch, expected, rtol=0, atol=1e-6)
        seen += labels.tolist()
    assert sorted(seen) == list(range(40))


def test_crops_and_flips_are_among_ours(images: tuple[np.ndarray, np.ndarray]) -> None:
    """Brute force: each image is one of the 9 x 9 crops of the padded original, or its mirror image."""
    pixels, _ = images
    loader = handmade.loader(
        pixels,
        np.arange(40),
        (0, 0, 0),
        (1, 1, 1),
        batch_size=40,
        crop_padding=4,
        flip=True,
        device=CPU,
        workers=0,
    )
    batch, labels = next(iter(loader))
    padded = np.pad(pixels, ((0, 0), (4, 4), (4, 4), (0, 0)))
    for image, label in zip((batch * 255).round().byte().permute(0, 2, 3, 1).numpy(), labels, strict=True):
        crops = [padded[label, t : t + 32, left : left + 32] for t in range(9) for left in range(9)]
        assert any(np.array_equal(image, c) or np.array_equal(image, c[:, ::-1]) for c in crops)


@pytest.mark.parametrize(
    ("rho", "mixed", "precision"),
    [*((rho, mixed, "float32") for rho in (None, 0.1) for mixed in (False, True)), (0.1, True, "bf16")],
)
def test_updates_are_ours(rho: float | None, mixed: bool, precision: str) -> None:
    """Oracle: our rules on the same batches for three steps, with running statistics of both passes as here, in the
    same precision and memory format.
    """
    torch.manual_seed(0)
    theirs = MODELS["small_cnn"](3, 10)
    ours = copy.deepcopy(theirs)
    batches = [(torch.randn(16, 3, 8, 8), torch.randint(10, (16,))) for _ in range(3)]
    mix = v2.MixUp(alpha=1.0, num_classes=10) if mixed else None
    torch.manual_seed(1)
    plain = handmade.steps(
        theirs, batches, CPU, mix=mix, rho=rho, lr=0.1, momentum=0.9, weight_decay=1e-3, precision=precision
    )
    losses = [next(plain) for _ in batches]

    torch.manual_seed(1)
    ours.train()
    base = torch.optim.SGD(ours.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    rule = Descent(ours, base) if rho is None else SAM(ours, base, rho=rho, bn_stats="both")
    for (x, y), loss in zip(batches, losses, strict=True):
        inputs, targets = mix(x, y) if mix else (x, y)

        def closure(inputs: Tensor = inputs, targets: Tensor = targets) -> Tensor:
            with autocast(CPU, precision):
                output = ours(inputs)
            return F.cross_entropy(output.float(), targets, reduction="none")

        assert rule.step(closure).item() == pytest.approx(loss, rel=1e-5)
    _assert_equal(ours, theirs)


def _assert_equal(one: nn.Module, other: nn.Module) -> None:
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=name)


def test_what_it_does_not_have() -> None:
    """A method that the loop does not know is refused by name, before any worker starts."""
    config = configured("DG-Mix", ["dataset=cifar100", "model=small_cnn"])
    with pytest.raises(
        ConfigError, match=r"--loop plain: has no DG-Mix\. It has ERM, Mixup, CutMix, SAM, G-Mix"
    ):
        plain_subject("DG-Mix", config, CPU)


@pytest.mark.parametrize(
    ("override", "allowed"),
    [("opt.base=adam", "sgd"), ("opt.perturb=no_norm_bias", "all"), ("opt.decay_in_ascent=true", "false")],
)
def test_a_sam_that_it_does_not_have(override: str, allowed: str) -> None:
    """By hand: it would be another optimizer that is compared."""
    config = configured("SAM", ["dataset=cifar100", "model=small_cnn", override])
    message = f"{override}: --loop plain has SAM with {override.partition('=')[0]}={allowed} alone."
    with pytest.raises(ConfigError, match=re.escape(message)):
        plain_subject("SAM", config, CPU)
