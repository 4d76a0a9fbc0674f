"""Exported networks, loaded by other programs, against the run's predictions."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import torch

from mixbench import load_run
from mixbench.errors import ConfigError, MixbenchError
from mixbench.training import export as exports
from mixbench.training.export import NAMES, export


def pixels(finished: Path, n: int = 23) -> tuple[torch.Tensor, torch.Tensor]:
    """Test images (N, C, H, W) in [0, 1], and the run's probabilities for them."""
    run = load_run(finished)
    images = run.splits().test.inputs[:n]
    return torch.from_numpy(images / 255).float().permute(0, 3, 1, 2), run.predict(images)


def test_torchscript_of_other_programs(finished: Path) -> None:
    """Oracle: torch.jit.load in place of our code; batches of any size."""
    done = export(load_run(finished), "torchscript")
    assert done.path == finished / "model.torchscript.pt"
    model = torch.jit.load(done.path)
    images, expected = pixels(finished)
    for n in (1, 23):
        torch.testing.assert_close(model(images[:n]).softmax(1), expected[:n], atol=1e-6, rtol=1e-5)


def test_onnx_in_onnxruntime(finished: Path, tmp_path: Path) -> None:
    """Oracle: onnxruntime; the axis of the batch is free."""
    done = export(load_run(finished), "onnx", tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(done.path, providers=["CPUExecutionProvider"])
    images, expected = pixels(finished)
    for n in (1, 23):
        (logits,) = session.run(["logits"], {"images": images[:n].numpy()})
        np.testing.assert_allclose(
            torch.from_numpy(logits).softmax(1).numpy(), expected[:n].numpy(), atol=1e-5, rtol=1e-4
        )
    assert 0 <= done.difference < 1e-4
    assert not (finished / "model.onnx").exists()


def test_state_dict_is_the_saved_one(finished: Path) -> None:
    """Oracle: the run's weights, bit for bit, by torch.load without code."""
    done = export(load_run(finished), "state_dict")
    found = torch.load(done.path, weights_only=True)
    saved = safetensors.torch.load_file(finished / "model.safetensors")
    assert found.keys() == saved.keys()
    assert all(torch.equal(found[name], saved[name]) for name in saved)
    assert done.difference == 0


def test_without_the_data(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that would have to be downloaded are not: made-up images take their place, and are called so."""
    monkeypatch.setattr(exports, "_test_images", lambda run: None)
    assert export(load_run(finished), "torchscript").images == "100 made-up images"


@pytest.mark.parametrize("value", [0.5, torch.nan])
def test_an_export_that_computes_something_else_is_not_kept(
    finished: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    """Injected: a network that gives other logits, or none."""

    def wrong(images: torch.Tensor) -> torch.Tensor:
        return images.new_full((len(images), 10), value)

    monkeypatch.setitem(exports.FORMATS, "torchscript", lambda model, images: (b"wrong", wrong))
    before = sorted(finished.iterdir())
    with pytest.raises(MixbenchError, match="nothing was written"):
        export(load_run(finished), "torchscript")
    assert sorted(finished.iterdir()) == before


def test_a_missing_package_is_named(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Injected: no onnxruntime. The message names it, and what installs it."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"needs onnxruntime; .*mixbench\[onnx\]"):
        export(load_run(finished), "onnx")


def test_the_command_knows_all_formats() -> None:
    """The command's own list, which it has without torch."""
    from mixbench.commands.export import FORMATS

    assert tuple(NAMES) == FORMATS == (*exports.FORMATS, "state_dict")


def test_a_state_dict_that_reads_otherwise_is_not_kept(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Injected: a file that gives one weight less, or another one."""
    load, before = torch.load, sorted(finished.iterdir())
    for changed in (lambda found: found.popitem(), lambda found: next(iter(found.values())).add_(1)):

        def wrong(*arguments: object, changed=changed, **how: object) -> dict:
            changed(found := load(*arguments, **how))
            return found

        monkeypatch.setattr(torch, "load", wrong)
        with pytest.raises(MixbenchError, match="differ; nothing was written"):
            export(load_run(finished), "state_dict")
    assert sorted(finished.iterdir()) == before
