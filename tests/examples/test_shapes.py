"""The example of a data set, drawn shapes. Oracles: the shapes' areas in closed form, two colours in every image."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mixbench.config import plugins
from mixbench.config.compose import compose
from mixbench.errors import ConfigError
from mixbench.training.members import member

pytestmark = pytest.mark.usefixtures("plugin_room")

PLUGIN = str(Path(__file__).parents[2] / "examples" / "dataset" / "shapes.py")


def test_areas() -> None:
    """pi for the disc of radius 1, 1.6^2 for the square, 2 x 1.6 / 2 for the triangle, two arms of 2 x 0.5 less their
    common square for the cross. On a grid of 800 x 800 points of [-1, 1]^2, to 1 %."""
    with plugins.named([PLUGIN]):
        import shapes_drawn

        point = (np.arange(800) + 0.5) / 400 - 1
        found = shapes_drawn.shapes(point[:, None], point).mean((1, 2)) * 4
    assert np.allclose(found, [math.pi, 2.56, 1.6, 1.75], rtol=0.01)


def test_a_part_is_drawn_as_it_is_said() -> None:
    """Two colours in every image, that of the shape in its middle; classes equally often; the same every time, but
    another seed gives other images."""
    with plugins.named([PLUGIN]):
        import shapes_drawn

        one, again, other = (shapes_drawn.draw(41, 20, seed) for seed in (3, 3, 4))
    assert (one.inputs.shape, one.inputs.dtype, one.labels.dtype) == ((41, 20, 20, 3), np.uint8, np.int64)
    assert sorted(np.bincount(one.labels)) == [10, 10, 10, 11]
    for image in one.inputs:
        assert len(np.unique(image.reshape(-1, 3), axis=0)) == 2
    assert np.array_equal(one.inputs, again.inputs)
    assert not np.array_equal(one.inputs, other.inputs)


def test_what_the_option_says_is_what_is_loaded() -> None:
    """Sizes, shape and classes of the specification; parts are cut as those of every set; knobs are in the identity."""
    with plugins.named([PLUGIN]):
        config = compose(
            ["dataset=shapes", "dataset.side=16", "dataset.train_size=200", "dataset.val_size=40"]
        )
        splits = member("dataset", "shapes")(config.dataset, None)
        sizes = [len(part.labels) for part in (splits.train, splits.val, splits.test)]
        assert (sizes, splits.spec.shape) == ([200, 40, 400], (16, 16, 3))
        assert splits.train.inputs.shape == (200, 16, 16, 3)
        with pytest.raises(ConfigError, match=r"dataset\.train_size=9000: shapes allows 1 to 2000"):
            compose(["dataset=shapes", "dataset.train_size=9000"])
        with pytest.raises(ConfigError, match=r"dataset\.name=folder: is fixed"):
            compose(["dataset=shapes", "dataset.name=folder"])


def test_through_the_command_line(mixbench: Callable, workplace: Path) -> None:
    """Listed, trained, shown as finished; the record names the plugin, the directory the set."""
    assert "dataset=shapes" in mixbench("methods", "shapes", "--plugin", PLUGIN).out
    command = (
        "train", "dataset=shapes", "dataset.side=12", "dataset.train_size=200", "dataset.test_size=100",
        "batch_size=50", "epochs=1", "--plugin", PLUGIN,
    )  # fmt: skip
    done = mixbench(*command)
    assert done.status == 0, done.err
    assert "shapes: 200 training, 100 test images 12x12x3, 4 classes" in done.out
    assert "finished" in mixbench(*command).out
    (run,) = Path("outputs/shapes/small_cnn/erm").iterdir()
    assert list(json.loads((run / "env.json").read_text())["plugins"]) == ["shapes.py"]
