"""`mixbench export RUN`: the network of a finished run for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path

FORMATS = ("torchscript", "onnx", "state_dict")
EPILOG = """examples:
  mixbench export RUN --format onnx                  RUN/model.onnx, for onnxruntime and others
  mixbench export RUN --format torchscript --out net.pt
  mixbench export RUN --format state_dict            torch.load(FILE, weights_only=True)

TorchScript and ONNX take images (N, C, H, W) float32 in [0, 1], normalise them, and give logits (N, K). A state dict
holds the parameters alone, for a network of one's own code that takes normalised images; for graphs it is the
only form. Before it is put in place a program is compared with the original on 100 images, a state dict bit for bit.
"""


def main(argv: list[str]) -> int:
    """The exit status of `mixbench export ARGV`. Raises MixbenchError where nothing could be written."""
    arguments = parser().parse_args(argv)
    from mixbench.training.export import export
    from mixbench.training.restore import load_run

    done = export(load_run(arguments.run), arguments.format, Path(arguments.out) if arguments.out else None)
    print(f"written: {done.path}")
    if done.images:
        print(f"its logits differ from the original's by at most {done.difference:.2g}, on {done.images}")
    else:
        print("read again, its tensors are those of the network, bit for bit")
    return 0


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    found = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="mixbench export",
        description="Write the network of a finished run for other programs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("run", metavar="RUN", help="the directory of a run, or a file of weights")
    found.add_argument("--format", required=True, choices=FORMATS)
    found.add_argument(
        "--out", metavar="FILE", help="where to (default: model.onnx and so on, in the run's directory)"
    )
    return found
