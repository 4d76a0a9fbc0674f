"""What a training step of each method costs, relative to plain training: the "Measured" lines of docs/methods.

    python scripts/cost.py [--rounds 7] [--model wrn16_4] [--precision bf16]

Rounds are interleaved, one step of every method each, so that a busy moment hits all of them alike; the ratio is the
median over rounds, with the quartiles. Images are random tensors of CIFAR's shape: a step costs the same.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from mixbench.augment import AUGMENTS
from mixbench.config import typed
from mixbench.devices import autocast, device_title, resolve_device, synchronize
from mixbench.explain import composed
from mixbench.losses import cross_entropy
from mixbench.models import MODELS
from mixbench.optim.build import build_rule
from mixbench.regularize import REGULARIZERS
from mixbench.build import knobs

METHODS = {
    "ERM": [],
    "Mixup": ["augment=mixup"],
    "CutMix": ["augment=cutmix"],
    "Mixup & CutMix": ["augment=mixup_cutmix"],
    "HMix": ["augment=hmix"],
    "GMix": ["augment=gmix"],
    "PuzzleMix": ["augment=puzzlemix"],
    "Manifold Mixup": ["augment=manifold_mixup"],
    "MixupE": ["augment=mixup", "regularizer=mixupe"],
    "MixupE, batched": ["augment=mixup", "regularizer=mixupe", "regularizer.forward=batched"],
    "MixupE, exact": ["augment=mixup", "regularizer=mixupe", "regularizer.variant=exact"],
    "SAM": ["opt=sam"],
    "ASAM": ["opt=asam"],
    "G-Mix": ["augment=mixup", "opt=sam"],
    "BG-Mix": ["augment=mixup", "opt=bgmix"],
    "BG-Mix, subset": ["augment=mixup", "opt=bgmix", "opt.compute=subset"],
    "DG-Mix": ["augment=mixup", "opt=dgmix"],
    "DG-Mix, logit": ["augment=mixup", "opt=dgmix", "opt.decompose=logit"],
}


def step(overrides: list[str], model_name: str, precision: str, device: torch.device) -> Callable[[], None]:
    """One training step of a method on a batch of 128 random images: augmentation, all passes, update."""
    config = typed(
        composed([*overrides, "dataset=cifar100", f"model={model_name}", f"precision={precision}"])
    )
    torch.manual_seed(0)
    model = MODELS[config.model.name](3, 100, **knobs(config.model)).to(device)
    model = model.to(memory_format=torch.channels_last)
    rule = build_rule(config.opt.name, model, **knobs(config.opt))
    kind = AUGMENTS[config.augment.name]
    augment = kind(100, **({"model": model} if kind.uses_model else {}), **knobs(config.augment))
    objective = REGULARIZERS[config.regularizer.name](**knobs(config.regularizer))
    images = torch.randn(128, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 100, (128,), device=device)

    def run() -> None:
        x, y = augment(images, labels)

        def losses() -> torch.Tensor:
            with autocast(device, precision):
                return objective(model, x, y, images, labels, cross_entropy)[0]

        rule.step(losses)
        synchronize(device)

    return run


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--model", default="wrn16_4")
    parser.add_argument("--precision", default="bf16")
    arguments = parser.parse_args()
    device, _ = resolve_device("auto")
    steps = {name: step(o, arguments.model, arguments.precision, device) for name, o in METHODS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(arguments.rounds + 1):  # the first one warms up
        for name, run in steps.items():
            start = time.perf_counter()
            run()
            if round_number:
                seconds[name].append(time.perf_counter() - start)
    print(
        f"{arguments.model}, 128 images of 32x32x3, {arguments.precision}, {device.type} ({device_title(device)}), ",
        end="",
    )
    print(f"torch {torch.__version__}, {arguments.rounds} rounds")
    print(f"{'method':16} {'x ERM':>6}  quartiles")
    for name in steps:
        ratios = [a / b for a, b in zip(seconds[name], seconds["ERM"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"{name:16} {middle:6.2f}  {low:.2f} to {high:.2f}")


if __name__ == "__main__":
    main()
