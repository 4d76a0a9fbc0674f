"""A finished network for other programs, by torch's own exporters: TorchScript, ONNX, a state dict.

TorchScript and ONNX hold the normalisation too: they take images (N, C, H, W) float32 as they are before it, in [0, 1]
for a run that was trained on bytes, and give logits (N, K) float32, for any N. A state dict holds the network's
parameters and buffers by name, and nothing else. All compute in float32, whatever precision the run was trained in.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mixbench.data.kinds import kind
from mixbench.data.store.cache import read_meta
from mixbench.errors import ConfigError, DataError, MixbenchError
from mixbench.files import write_atomic
from mixbench.inventory.paths import data_dir
from mixbench.training.restore import LoadedRun
from mixbench.training.weights import Description

CHECKED = 100  # images on which an export is compared with the original
# Relative to the largest logit. Other kernels add up in another order, which gives 1e-6 for the networks here.
ROUNDING = 1e-4
NAMES = {"torchscript": "model.torchscript.pt", "onnx": "model.onnx", "state_dict": "model.state_dict.pt"}
ONNX = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class Exported:
    """What was written: where, the largest difference between its logits and the original's, and on which images; a
    state dict, which is the same bit for bit, is compared without any.
    """

    path: Path
    difference: float
    images: str


class FromPixels(nn.Module):
    """The network behind its normalisation: images (N, C, H, W), or rows (N, D), float32 in the units of mean and std
    to logits.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, about: Description) -> None:
        super().__init__()
        self.model = model
        after = [1] * (len(about.shape) - 1)  # height and width; a row has none
        self.register_buffer("mean", torch.tensor(about.mean).view(-1, *after))
        self.register_buffer("std", torch.tensor(about.std).view(-1, *after))

    def forward(self, images: Tensor) -> Tensor:
        return self.model((images - self.mean) / self.std)


def export(run: LoadedRun, form: str, path: Path | None = None) -> Exported:
    """Write the network of a finished run as `form`, a key of NAMES, to `path`, else into the run's directory.

    Before it is put in place it is loaded again and compared with the original: the tensors of a state dict bit for
    bit, all else on 100 images. Raises MixbenchError, and leaves nothing, where they differ by more than rounding or
    torch cannot export the network; ConfigError where a package is missing, and for a program that would take graphs;
    OutputError; and as `LoadedRun.model` does.
    """
    missing = [name for name in ONNX if find_spec(name) is None]
    if form == "onnx" and missing:
        raise ConfigError(
            f"--format onnx: needs {', '.join(missing)}; install them with: pip install 'mixbench[onnx]'"
        )
    if form == "state_dict":
        content, difference, which = _state_dict(run), 0.0, ""
    else:
        content, difference, which = _program(run, form)
    path = path or run.directory / NAMES[form]
    write_atomic(path, content)
    return Exported(path, difference, which)


def _program(run: LoadedRun, form: str) -> tuple[bytes, float, str]:
    """The network as a program that takes images, its largest difference, and on which images that was found."""
    about = run.description
    if about.kind == "graph":
        raise ConfigError(
            f"--format {form}: {run.directory} has graphs as inputs, of all sizes, which no exporter of torch follows;"
            " allowed: state_dict, the weights alone. mixbench.load_run(DIRECTORY).model() is the network."
        )
    original = FromPixels(run.model(), about).eval()
    images, which = _images(run)
    try:
        content, again = FORMATS[form](original, images)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise MixbenchError(f"{run.directory}: torch cannot export it as {form}: {reason}") from None
    with torch.no_grad():
        expected = original(images)
        # A single image shows whether a batch size was written down while tracing.
        difference = max(
            (again(batch) - original(batch)).abs().max().item() for batch in (images, images[:1])
        )
    if not difference <= ROUNDING * expected.abs().max().item():
        raise MixbenchError(
            f"{run.directory}: as {form} its logits differ by {difference:.2g}, which is more than rounding;"
            " nothing was written."
        )
    return content, difference, which


def _images(run: LoadedRun) -> tuple[Tensor, str]:
    """Images (N, C, H, W) as they are before normalisation: of the test set where that is on this machine."""
    test = None
    with contextlib.suppress(ConfigError, DataError):
        test = _test_images(run)
    if test is None:
        images = torch.rand(CHECKED, *run.description.shape, generator=torch.Generator().manual_seed(0))
    else:
        images = torch.from_numpy(run.fitting(test).copy())
        images = images.float() / 255 if images.dtype == torch.uint8 else images
    which = f"{len(images)} {'made-up' if test is None else 'test'} {kind(run.description.kind).NOUN}"
    return images.movedim(-1, 1).contiguous(), which


def _test_images(run: LoadedRun) -> NDArray | None:
    """The first test images as they are stored; None where they would have to be downloaded."""
    spec = run.config.dataset.spec()
    if not spec.embedded and read_meta(data_dir(run.config.data_dir), spec.name) is None:
        return None
    return np.asarray(run.splits().test.inputs[:CHECKED])


Again = Callable[[Tensor], Tensor]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's announcements of what it will do away with: the result is compared with the original anyway."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _torchscript(model: FromPixels, images: Tensor) -> tuple[bytes, Again]:
    buffer = io.BytesIO()
    with _quiet():
        torch.jit.save(torch.jit.trace(model, images[:2]), buffer)
        buffer.seek(0)
        return buffer.getvalue(), torch.jit.load(buffer)


def _onnx(model: FromPixels, images: Tensor) -> tuple[bytes, Again]:
    import onnxruntime

    with _quiet():
        program = torch.onnx.export(
            model,
            (images[:2],),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    content = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def again(images: Tensor) -> Tensor:
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        return torch.from_numpy(logits)

    return content, again


def _state_dict(run: LoadedRun) -> bytes:
    weights = {name: tensor.contiguous() for name, tensor in run.model().state_dict().items()}
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    buffer.seek(0)
    again = torch.load(buffer, weights_only=True)
    if again.keys() != weights.keys() or not all(torch.equal(again[name], weights[name]) for name in weights):
        raise MixbenchError(
            f"{run.directory}: its weights, written and read again, differ; nothing was written."
        )
    return buffer.getvalue()


# Programs; a state dict is none.
FORMATS: dict[str, Callable[[FromPixels, Tensor], tuple[bytes, Again]]] = {
    "torchscript": _torchscript,
    "onnx": _onnx,
}
