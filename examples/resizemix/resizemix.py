"""ResizeMix for mixbench: `mixbench train --plugin examples/resizemix/resizemix.py augment=resizemix`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mixbench.plugins import register
from mixbench.schema.augment import Mixing
from mixbench.schema.knob import knob


@dataclass
class ResizeMix(Mixing):
    """ResizeMix: the whole partner, made smaller, is pasted at a random place; the label follows the pasted area.

    Source: Qin, Fang, Zhang, Liu, Wang, Wang, ResizeMix: Mixing Data with Preserved Object Information and True Labels,
    2020.
    """

    name: str = "resizemix"
    smallest: float = knob(
        "smallest side of the pasted partner, as a share of the image's", above=0, at_most=1
    )
    largest: float = knob("largest side of the pasted partner, as a share of the image's", above=0, at_most=1)

    def problems(self) -> Iterator[str]:
        if self.smallest > self.largest:
            yield f"augment.smallest={self.smallest}: must be <= augment.largest={self.largest}."


register(
    "augment", "resizemix", "resizemix_mask:ResizeMix", ResizeMix, Path(__file__).with_name("resizemix.yaml")
)
