"""Instruments that several test modules share."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mixbench.config.library import conf_dir


def probe(
    mix: Any, batch: int, height: int, width: int, dtype: torch.dtype = torch.float64, **call: Any
) -> tuple[Tensor, Tensor]:
    """What a mixing method does, made visible: image i is 1 in channel i and 0 elsewhere, and has label i.

    x[i, j] is then the weight of image j in the mixed image i at every pixel, and y[i, j] that of label j.
    """
    images = torch.eye(batch, dtype=dtype)[:, :, None, None].expand(batch, batch, height, width).contiguous()
    return mix(images, torch.arange(batch), **call)


class NoHostSync(TorchDispatchMode):
    """Raise AssertionError where the host would wait for a device: reading a value, a data-dependent shape.

    Works on CPU tensors, where the same operations run without a wait.
    """

    WAITS = ("_local_scalar_dense", "nonzero", "equal", "masked_select", "_unique", "is_nonzero", "bincount")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert not name.startswith(self.WAITS), f"{name} waits for the device"
        return func(*args, **(kwargs or {}))


class OnDevice(NoHostSync):
    """Raise AssertionError as well where a tensor of another device than `device` takes part.

    A copy between devices waits, and a number that lies on the CPU is read when a graph is recorded, not when it runs.
    SGD's kernel, which torch lacks for the device without data, is passed over.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket is torch.ops.aten._fused_sgd_:
            return None
        result = super().__torch_dispatch__(func, types, args, kwargs)
        tensors = (each for each in tree_leaves((args, kwargs, result)) if torch.is_tensor(each))
        strange = {str(tensor.device) for tensor in tensors if tensor.device.type != self.device.type}
        assert not strange, f"{func.overloadpacket.__name__} has a tensor on {', '.join(strange)}"
        return result


def option_values(group: str, option: str) -> dict[str, Any]:
    """The knobs of an option as its YAML file sets them, typed by its schema; all must be set and allowed."""
    return {k: v for k, v in dataclasses.asdict(_option(group, option)).items() if k != "name"}


@functools.cache
def _option(group: str, option: str) -> Any:
    from mixbench.schema.knob import check

    schema = importlib.import_module(f"mixbench.schema.{group}").OPTIONS[option]
    values = OmegaConf.load(conf_dir() / group / f"{option}.yaml")
    assert values.pop("defaults") == [f"/schema/{group}/{option}@_here_"]
    node = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), values))
    assert list(check(node)) == []
    return node


def constructor_defaults(kind: type) -> dict[str, Any]:
    """Default values of the arguments of a class and its bases."""
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__[:-1]):
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters.values()
            found |= {p.name: p.default for p in parameters if p.default is not p.empty}
    return found


def make_net(dropout: float = 0.0) -> nn.Module:
    """A convolution, BatchNorm and a linear layer, for 1x8x8 images and three classes; the same every time."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout), nn.Linear(144, 3)
    )


def batches(n: int) -> list[tuple[Tensor, Tensor]]:
    """n batches of six 1x8x8 images with soft targets; the same every time."""
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(6, 1, 8, 8, generator=generator), torch.rand(6, 3, generator=generator).softmax(1))
        for _ in range(n)
    ]


def assert_same_state(one: nn.Module, other: nn.Module) -> None:
    """Equal parameters and buffers, bit for bit."""
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def real_images(count: int) -> tuple[Tensor, Tensor]:
    """Normalised CIFAR-10 test images (count, 3, 32, 32) and labels, from the packed files; skips without them."""
    folder = Path(os.environ.get("MIXBENCH_TEST_DATA") or Path(__file__).parents[3] / "shared/data")
    path = folder / "cifar10_test.npz"
    if not path.exists():
        pytest.skip("needs the packed real images (MIXBENCH_TEST_DATA)")
    packed = np.load(path)
    blob, ends = packed["blob"], packed["lengths"].cumsum()
    strips: list[np.ndarray] = []
    while sum(map(len, strips)) < count:
        start, end = ends[len(strips)] - packed["lengths"][len(strips)], ends[len(strips)]
        picture = Image.open(BytesIO(blob[start:end].tobytes())).convert("RGB")
        strips.append(np.asarray(picture).reshape(-1, 32, 32, 3))
    images = torch.from_numpy(np.concatenate(strips)[:count]).permute(0, 3, 1, 2) / 255
    normalised = (images - images.mean((0, 2, 3), keepdim=True)) / images.std((0, 2, 3), keepdim=True)
    return normalised, torch.from_numpy(packed["labels"][:count]).long()
