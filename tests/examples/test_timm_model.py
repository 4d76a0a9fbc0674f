"""The example of a model, a network of timm by name. Oracle: timm itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mixbench.config import plugins
from mixbench.training.members import member

timm = pytest.importorskip("timm")
pytestmark = pytest.mark.usefixtures("plugin_room")

PLUGIN = str(Path(__file__).parents[2] / "examples" / "timm_model" / "timm_model.py")
TINY = ("epochs=1", "dataset.train_size=100", "dataset.test_size=50", "batch_size=50")


def test_it_is_timms_network() -> None:
    """The same weights from the same seed, the same logits; channels and classes are those of the data set."""
    with plugins.named([PLUGIN]):
        build = member("model", "timm")
    models = []
    for make in (build, lambda *a, network: timm.create_model(network, in_chans=a[0], num_classes=a[1])):
        torch.manual_seed(0)
        models.append(make(1, 7, network="test_resnet").eval())
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        ours, theirs = (model(x) for model in models)
    assert ours.shape == (2, 7)
    assert torch.equal(ours, theirs)


def test_through_the_command_line(mixbench: Callable, workplace: Path) -> None:
    """Listed, trained, shown as finished; the directory has the network's name, the record that of the plugin."""
    assert "model=timm" in mixbench("methods", "timm", "--plugin", PLUGIN).out
    command = ("train", "model=timm", "model.network=test_resnet", *TINY, "--plugin", PLUGIN)
    done = mixbench(*command)
    assert done.status == 0, done.err
    assert "finished" in mixbench(*command).out
    (run,) = Path("outputs/digits/timm_test_resnet/erm").iterdir()
    assert list(json.loads((run / "env.json").read_text())["plugins"]) == ["timm_model.py"]
    theirs = timm.create_model("test_resnet", in_chans=1, num_classes=10).state_dict()
    weights = load_file(run / "model.safetensors")
    assert {k: v.shape for k, v in weights.items()} == {k: v.shape for k, v in theirs.items()}


@pytest.mark.parametrize("network", ["resnet10", "hf-hub:somebody/something", "../x"])
def test_a_network_that_timm_does_not_have(mixbench: Callable, workplace: Path, network: str) -> None:
    """Status 2 and one message, without a look at a hub."""
    done = mixbench("train", "model=timm", f"model.network='{network}'", *TINY, "--plugin", PLUGIN)
    assert done.status == 2
    assert f"model.network={network}: timm has no such network." in done.err
    assert "Traceback" not in done.err
