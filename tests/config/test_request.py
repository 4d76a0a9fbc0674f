"""What is a mistake to ask for: one message before torch is loaded. Oracles: the networks themselves, arithmetic."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
import yaml

from mixbench.config.compose import compose
from mixbench.config.saved import overrides, saved_config
from mixbench.errors import ConfigError
from mixbench.models import MODELS
from mixbench.schema.model import OPTIONS, StemModel, last_side
from mixbench.training.build import _check_room
from mixbench.training.opening import _left_out

SMALL = ["dataset.train_size=20", "dataset.test_size=10", "batch_size=4"]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", [name for name in MODELS if issubclass(OPTIONS[name], StemModel)])
def test_the_schemas_know_the_networks(name: str, stride: int) -> None:
    """Stages by their names, and the side of the last one's output, for images of 16 to 64 pixels."""
    depth = {"wrn": 10, "cifar_resnet": 8, "preactresnet": 18}.get(name)
    knobs = (
        {"stem_stride": stride}
        | ({"depth": depth} if depth else {})
        | ({"width": 1} if name == "wrn" else {})
    )
    schema, network = OPTIONS[name](**knobs), MODELS[name](1, 10, **knobs).eval()
    stages = [child for child, _ in network.named_children() if child.startswith("stage")]
    assert stages == [f"stage{i}" for i in range(1, schema.num_stages + 1)]
    for side in (16, 28, 33, 64):
        x = torch.zeros(1, 1, side, side)
        for child, module in network.named_children():
            x = module(x)
            if child == stages[-1]:
                break
        assert x.shape[-1] == last_side(schema, side)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            ["batch_size=1"],
            "batch_size=1: is a batch of 1 images: the last stage of model=resnet18 has one pixel",
        ),
        (["batch_size=4", "accumulate=4"], "batch_size=4: is a batch of 4 images, cut into 4 parts"),
        (["batch_size=19", "drop_last=false"], "drop_last=false: is a batch of 1 images"),
        (
            ["opt=bgmix", "opt.compute=subset", "opt.gamma=0.25"],
            r"opt.gamma=0.25: keeps one of 4 images \(batch_size=4\)",
        ),
        (["augment=manifold_mixup", "augment.stages=5"], "augment.stages=5: model=resnet18 has 4 stages"),
    ],
)
def test_one_image_under_batchnorm_and_a_stage_that_is_not_there(asked: list[str], message: str) -> None:
    """These ended in torch's traceback; images of twice the size, or a second image, are fine."""
    with pytest.raises(ConfigError, match=message):
        compose([*SMALL, "model=resnet18", *asked])
    if asked == ["batch_size=1"]:
        compose([*SMALL, "model=small_cnn", *asked])  # 4x4 pixels
        compose([*SMALL, "dataset=cifar10", "model=resnet18", *asked])


def test_a_batch_larger_than_the_part_of_a_set_that_is_here(tmp_path: Path) -> None:
    """A sample was imported: its sizes count, not those of the whole set. A record of the whole set is still read."""
    files = {f"{part}_labels": {"shape": [n]} for part, n in (("train", 600), ("test", 100))}
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "meta.json").write_text(json.dumps({"files": files}))
    asked = ["dataset=cifar10", f"data_dir={tmp_path}"]
    assert compose([*asked, "batch_size=600"]).batch_size == 600
    for more, message in (
        ("batch_size=601", "batch_size=601: larger than the 600 training examples of cifar10"),
        ("dataset.train_size=601", "dataset.train_size=601: cifar10 allows 1 to 600"),
        ("dataset.test_size=101", "dataset.test_size=101: cifar10 allows 1 to 100"),
    ):
        with pytest.raises(ConfigError, match=message):
            compose([*asked, more])
    for damaged in ("{", "[]", '{"files": {"train_labels": {"shape": "x"}}}'):
        (tmp_path / "cifar10" / "meta.json").write_text(damaged)
        assert compose([*asked, "batch_size=601"]).batch_size == 601


def test_milestones_that_are_not_meant(tmp_path: Path) -> None:
    """1.0 among fractions is no end of training; a run that has trained so is read all the same."""
    for milestones in ("[0.5,1.0]", "[0.5,1]", "[1,0.2]"):
        with pytest.raises(
            ConfigError, match=r"schedule\.milestones=\[.*\]: 1 would be epoch 1, not the end"
        ):
            compose([f"schedule.milestones={milestones}"])
    config = compose(["schedule.milestones=[1,2.5]"])
    assert config.schedule.milestones == [1, 2.5]
    config.schedule.milestones = [0.5, 1.0]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(dataclasses.asdict(config)))
    read = saved_config(path)
    assert read.schedule.milestones == [0.5, 1.0]
    assert "schedule.milestones=[0.5,1.0]" in overrides(read)


def test_what_of_a_schedule_never_happens() -> None:
    """Oracle: the schedule itself. The first lines of a run say it."""
    from mixbench.schedule import SCHEDULES

    schedule = compose(["epochs=10", "schedule.warmup_epochs=40"]).schedule
    (words,) = schedule.never(10)
    reached = SCHEDULES["constant"](10 - 1e-9, 10, warmup_epochs=40, warmup_start=0.1)
    assert words.endswith(f"only rises, to {reached:.3g} of opt.lr")
    schedule = compose(["epochs=10", "schedule.milestones=[0.5,9.5,10,30]"]).schedule
    (words,) = schedule.never(10)
    assert "of epochs=10, 10, 30 are never reached" in words
    assert not list(schedule.never(31))
    assert not list(compose([]).schedule.never(1))


def test_images_that_no_batch_takes_are_named() -> None:
    """Oracle: arithmetic. Of 160 images, batches of 64 take 128; a tenth or less is not worth a line."""
    config = compose(["batch_size=64"])
    (words,) = _left_out(config, 160, "images")
    assert words.startswith("every epoch leaves out 32 of 160 training images")
    assert not list(_left_out(config, 640 + 64, "images"))
    assert not list(_left_out(compose(["batch_size=64", "drop_last=false"]), 160, "images"))


@pytest.mark.parametrize(("depth", "width"), [(10, 1), (16, 4), (28, 2)])
def test_the_weights_of_a_wide_network(depth: int, width: int) -> None:
    """Oracle: the network's own 3x3 convolutions within its stages."""
    network = MODELS["wrn"](3, 10, depth=depth, width=width)
    counted = sum(
        p.numel() for name, p in network.named_parameters() if "stage" in name and p.shape[2:] == (3, 3)
    )
    assert OPTIONS["wrn"](depth=depth, width=width).least_weights() == counted


def test_a_network_that_memory_has_no_room_for(monkeypatch) -> None:
    """Said before anything is allocated."""
    monkeypatch.setattr(
        "mixbench.training.build.free_memory", lambda device: (2**34, "this machine's free memory")
    )
    with pytest.raises(
        ConfigError, match=r"model=wrn100_100: has more than .* take 113\.5 GiB, .* is 16\.0 GiB"
    ):
        _check_room(OPTIONS["wrn"](depth=100, width=100, stem_stride=1), torch.device("cpu"))
    _check_room(OPTIONS["wrn"](depth=28, width=20), torch.device("cpu"))
