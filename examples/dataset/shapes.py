"""Coloured shapes for mixbench: `mixbench train --plugin examples/dataset/shapes.py dataset=shapes`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mixbench.plugins import register
from mixbench.schema.examples import ImageDataset
from mixbench.schema.knob import knob
from mixbench.schema.specs import DataSpec

CLASSES = ("disc", "square", "triangle", "cross")


@dataclass
class Shapes(ImageDataset):
    """Coloured shapes: a bright disc, square, triangle or cross of any colour, size and place on a dark background.

    Source: drawn by mixbench's example of a data set.
    """

    name: str = "shapes"
    side: int = knob("side of the images in pixels", at_least=12)
    train_images: int = knob("images that are drawn for training", at_least=len(CLASSES))
    test_images: int = knob("images that are drawn for testing", at_least=len(CLASSES))

    def spec(self) -> DataSpec:
        return DataSpec(
            name=self.name,
            title="coloured shapes",
            source="drawn",
            num_classes=len(CLASSES),
            train_size=self.train_images,
            test_size=self.test_images,
            shape=(self.side, self.side, 3),
            labels="the shape",
            classes=CLASSES,
        )


register("dataset", "shapes", "shapes_drawn:load", Shapes, Path(__file__).with_name("shapes.yaml"))
