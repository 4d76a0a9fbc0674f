"""Studies of trained networks, on made-up images: what they report is what the networks do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mixbench.analysis import small
from mixbench.config.compose import compose
from mixbench.studies import attacked, curves
from mixbench.training.unrecorded import epochs

SIZES = {"images": 100, "test_images": 50, "epochs": 2, "batch_size": 50}


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """In the place of CIFAR-10: ten classes that differ in brightness, with noise."""
    generator, path, parts = np.random.default_rng(0), tmp_path / "made_up.npz", {}
    for name, count in (("train", SIZES["images"]), ("test", SIZES["test_images"])):
        labels = np.arange(count) % 10
        noise = generator.integers(0, 100, (count, 16, 16, 3))
        parts |= {f"{name}_images": (noise + 15 * labels[:, None, None, None]).astype(np.uint8)}
        parts |= {f"{name}_labels": labels}
    np.savez(path, **parts)
    monkeypatch.setattr(small, "saved", lambda *given: path)
    return path


def test_losses_are_those_of_the_images_themselves(made_up: Path) -> None:
    """Brute force: the same run again, and the cross-entropy and error of its network on all images, normalised by
    hand; the loss that Mixup trains with is another.
    """
    p = curves.Parameters(every=1, **SIZES)
    found = curves.compute(p, "CIFAR-10 seed 3")
    assert list(found["epoch"]) == [1, 2, 1, 2]
    last = found[found["method"] == "Mixup"].iloc[-1]
    *_, (loop, _) = epochs(
        compose(
            [
                *("dataset=arrays", f"dataset.path={made_up}", "augment=mixup", "model=small_cnn", "seed=3"),
                *(
                    "model.stem_stride=2",
                    "batch_size=50",
                    "epochs=2",
                    "opt=sgd",
                    "opt.lr=0.1",
                    "schedule=step",
                ),
                *("opt.nesterov=false", "opt.weight_decay=1e-4", "schedule.milestones=[0.5,0.75]"),
                *("schedule.factor=0.1", "precision=float32", "dataset.base_augment=false"),
            ]
        )
    )
    with np.load(made_up) as of:
        pixels = of["train_images"] / 255
        for part in ("train", "test"):
            images = (of[f"{part}_images"] / 255 - pixels.mean((0, 1, 2))) / pixels.std((0, 1, 2))
            with torch.no_grad():
                logits = loop.model.eval()(torch.from_numpy(images).float().permute(0, 3, 1, 2))
            labels = torch.from_numpy(of[f"{part}_labels"])
            assert last[f"{part}_loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-3)
            wrong = (logits.argmax(1) != labels).double().mean().item()
            assert last[f"{part}_error"] == pytest.approx(100 * wrong)
    assert abs(last["trained_loss"] - last["train_loss"]) > 0.01
    of_place = curves.by_place(found.assign(part="CIFAR-10 seed 3"), "CIFAR-10")
    assert np.allclose(of_place["loss_gap"], found["test_loss"] - found["train_loss"])
    assert curves.by_place(found.assign(part="CIFAR-10 seed 3"), "CIFAR-100").empty


def test_an_attack_of_no_size_changes_nothing_and_a_larger_one_does_more() -> None:
    """Limiting cases: at size 0 the accuracy is that of training's own evaluation, and the loss grows with the size."""
    found = attacked.compute(attacked.Parameters(sizes=[0.0, 1.0, 4.0, 16.0], **SIZES), "0")
    for _, of in found.groupby("method"):
        assert (of["loss"].diff().dropna() > 0).all()
        assert of["accuracy"].iloc[-1] <= of["accuracy"].iloc[0]
    *_, (_, row) = epochs(
        compose(
            [
                *("dataset=arrays", f"dataset.path={small.saved()}", "dataset.base_augment=false", "seed=0"),
                *("dataset.mean=[0,0,0]", "dataset.std=[1,1,1]", "model=small_cnn", "model.stem_stride=2"),
                *("batch_size=50", "epochs=2", "opt=sgd", "opt.lr=0.1", "opt.nesterov=false"),
                *("opt.weight_decay=1e-4", "schedule=step", "schedule.milestones=[0.5,0.75]"),
                *("schedule.factor=0.1", "precision=float32", "augment=none"),
            ]
        )
    )
    erm = found[(found["method"] == "ERM") & (found["size"] == 0)]
    assert erm["accuracy"].item() == pytest.approx(row["test_acc"])


def test_without_its_term_mixupe_is_mixup_but_for_running_statistics(made_up: Path) -> None:
    """Limiting case, eta = 0: the weights are equal to the last bit, the running statistics of BatchNorm are not, as
    the un-mixed batch has passed through as well; what `curves.mixupe` says of test losses rests on it.
    """
    states = []
    for regularizer in ("none", "mixupe"):
        overrides = [
            "dataset=arrays",
            f"dataset.path={made_up}",
            "augment=mixup",
            f"regularizer={regularizer}",
        ]
        overrides += ["regularizer.eta=0"] if regularizer == "mixupe" else []
        overrides += [
            "model=small_cnn",
            "model.stem_stride=2",
            "batch_size=50",
            "epochs=2",
            "precision=float32",
        ]
        *_, (loop, _) = epochs(compose(overrides))
        states.append(loop.model.state_dict())
    for name, value in states[0].items():
        if "num_batches" not in name:
            assert torch.equal(value, states[1][name]) == ("running" not in name)
