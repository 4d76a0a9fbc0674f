"""How many operations a training step hands to its device, for each method.

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
SMALL = ["model=wrn16_4", "model.width=1", "dataset=cifar10", "batch_size=4", "precision=float32"]


def main() -> None:
    """Print a row of a Markdown table for each method."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("methods", nargs="*", metavar="METHOD")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="further overrides")
    arguments = parser.parse_args()
    print("| method | operations |\n| --- | ---: |")
    for method in arguments.methods or METHODS:
        one = subject(method, configured(method, [*SMALL, *arguments.set]), torch.device("cpu"))
        for _ in range(WARM_UP):  # momentum is made in the first step
            next(one.steps)
        print(f"| {method} | {operations(one):.0f} |", flush=True)


if __name__ == "__main__":
    main()
