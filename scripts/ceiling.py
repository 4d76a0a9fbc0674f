"""How near a training step, and the convolutions in it, come to this processor's rate in large matrix products.

    python scripts/ceiling.py

WRN-16-4 on 128 images of 32 pixels in the precision that `mixbench bench` takes here, and its three usual convolutions
alone, forward and backward. They take turns with a matrix product, whose rate nothing made of convolutions exceeds, so
that a processor which becomes faster and slower does so for all. Printed are medians and quartiles of their
floating-point rate relative to that of the product before.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.nn.functional import conv2d

from mixbench.bench.measure import flops
from mixbench.bench.result import quartiles
from mixbench.bench.subjects import configured, subject
from mixbench.inventory.arithmetic import precision
from mixbench.machine.devices import DTYPES

CPU = torch.device("cpu")
ROUNDS = 12
LAYERS = ((64, 32), (128, 16), (256, 8))  # channels and side of an image in the stages of WRN-16-4
SIZE = 4096


def convolution(channels: int, side: int, dtype: torch.dtype) -> Callable[[], object]:
    """A 3x3 convolution of 128 images and its two gradients."""
    x = torch.randn(128, channels, side, side, dtype=dtype).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(channels, channels, 3, 3, dtype=dtype).contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    weight.requires_grad_()

    def step() -> None:
        y = conv2d(x, weight, padding=1)
        y.backward(y.detach())

    return step


def rate(work: Callable[[], object], operations: float) -> float:
    """Floating-point operations per second."""
    started = time.perf_counter()
    work()
    return operations / (time.perf_counter() - started)


def main() -> None:
    """Print a line for each."""
    kind, _ = precision("cpu")
    chosen = ["dataset=cifar100", "model=wrn16_4", "batch_size=128", f"precision={kind}"]
    whole = subject("ERM", configured("ERM", chosen), CPU)
    next(whole.steps)
    work: dict[str, tuple[Callable[[], object], float]] = {
        "step of ERM": (lambda: next(whole.steps), flops(whole))
    }
    for channels, side in LAYERS:
        name = f"convolution, {channels} channels, {side}x{side}"
        operations = 3 * 2 * 128 * side**2 * 9 * channels**2
        work[name] = convolution(channels, side, DTYPES[kind]), operations
    a, b = (torch.randn(SIZE, SIZE, dtype=DTYPES[kind]) for _ in range(2))
    shares: dict[str, list[float]] = {name: [] for name in work}
    for number in range(ROUNDS + 1):
        for name, (step, operations) in work.items():
            product = rate(lambda: torch.mm(a, b), 2 * SIZE**3)
            share = rate(step, operations) / product
            if number:  # the first round warms up
                shares[name].append(share)
    print(f"{kind}, {torch.get_num_threads()} threads; rate relative to matrix products of {SIZE}x{SIZE}")
    for name, found in shares.items():
        low, median, high = quartiles(found)
        print(f"{name:34} {median:.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
