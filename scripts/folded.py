"""What an evaluation gains from BatchNorm folded into the convolution before it, and from a frozen trace.

    python scripts/folded.py

WRN-16-4 on 128 images of 32 pixels in float32 and channels_last, on the CPU. All take turns; printed are medians and
quartiles of the ratio to the network as it is, and the largest difference of a logit.
"""

from __future__ import annotations

import time
import warnings

import torch
from torch.fx.experimental.optimization import fuse

from mixbench.bench.measure import rotated
from mixbench.bench.result import quartiles
from mixbench.models import MODELS

ROUNDS = 7


@torch.no_grad()
def main() -> None:
    """Print a line for each."""
    # Torch prefers its compiler, which bench --processes measures.
    warnings.simplefilter("ignore", FutureWarning)
    torch.manual_seed(0)
    model = MODELS["wrn"](3, 100, stem_stride=1, depth=16, width=4, variant="paper").eval()
    model = model.to(memory_format=torch.channels_last)
    images = torch.randn(128, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    frozen = torch.jit.optimize_for_inference(torch.jit.trace(model, images))
    networks = {"as it is": model, "BatchNorm folded": fuse(model), "traced and frozen": frozen}
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for network in networks.values():
        network(images)
        network(images)  # a frozen trace is made in its second call
    names = list(networks)
    for number in range(ROUNDS):
        for i in rotated(len(names), number):
            started = time.perf_counter()
            networks[names[i]](images)
            seconds[names[i]].append(time.perf_counter() - started)
    for name, network in networks.items():
        ratios = [a / b for a, b in zip(seconds[name], seconds["as it is"], strict=True)]
        low, median, high = quartiles(ratios)
        apart = (network(images) - model(images)).abs().max()
        print(f"{name:18} {median:.2f} ({low:.2f} to {high:.2f}) of the time, logits differ by {apart:.0e}")


if __name__ == "__main__":
    main()
