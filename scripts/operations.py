"""How many operations a training step hands to its device, for each method, in float32 and in bf16.

    python scripts/operations.py METHOD ...             methods as in `mixbench bench`; all without
    python scripts/operations.py --set model=wrn28_10

They are counted on the CPU, in torch's calls without views and allocations: a GPU has about a kernel for each, and
some for one that takes a list of tensors. Where kernels are shorter than their launch, a step takes as long as there
are operations in it, and a CUDA graph shortens that.
"""

from __future__ import annotations

import argparse

import torch

from mixbench.bench.measure import WARM_UP, operations
from mixbench.bench.subjects import METHODS, configured, subject

# Width and batch change no count, only the time to find it.
SMALL = ["model=wrn16_4", "model.width=1", "dataset=cifar10", "batch_size=4"]
PRECISIONS = ("float32", "bf16")


def main() -> None:
    """Print a row of a Markdown table for each method."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("methods", nargs="*", metavar="METHOD")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="further overrides")
    arguments = parser.parse_args()
    print(f"| method | {' | '.join(PRECISIONS)} |\n| --- |{' ---: |' * len(PRECISIONS)}")
    for method in arguments.methods or METHODS:
        counts = [_operations(method, [*arguments.set, f"precision={each}"]) for each in PRECISIONS]
        print(f"| {method} | {' | '.join(f'{count:.0f}' for count in counts)} |", flush=True)


def _operations(method: str, overrides: list[str]) -> float:
    one = subject(method, configured(method, [*SMALL, *overrides]), torch.device("cpu"))
    for _ in range(WARM_UP):  # momentum is made in the first step
        next(one.steps)
    return operations(one)


if __name__ == "__main__":
    main()
