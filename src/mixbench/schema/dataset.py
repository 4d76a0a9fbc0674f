"""The dataset options, and the knobs of published sets of images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mixbench.schema.examples import ImageDataset
from mixbench.schema.graphs import GraphFold
from mixbench.schema.imagenet import ImageNet
from mixbench.schema.knob import knob
from mixbench.schema.own import Arrays, Folder, Shards
from mixbench.schema.specs import SPECS, DataSpec
from mixbench.schema.speech import SpeechCommands
from mixbench.schema.tables import Table


@dataclass
class Images(ImageDataset):
    """A published set of images.

    Source: the papers that introduced the sets; `mixbench data list` names them.
    """

    name: str = knob("the data set", choices=list(SPECS))
    mirrors: list[str] = knob(
        "addresses of folders that hold the official archives, tried before the official host",
        default=[],
        scientific=False,
    )

    def spec(self) -> DataSpec:
        return SPECS[self.name]

    def problems(self) -> Iterator[str]:
        if self.name in SPECS:
            yield from super().problems()
        if any(re.search(r"//[^/@\s]*:[^/@\s]*@", str(address)) for address in self.mirrors):
            yield (
                "dataset.mirrors: an address with a password would stand in the run's record; give it in the"
                " environment variable MIXBENCH_MIRRORS."
            )


OPTIONS: dict[str, type] = {
    "images": Images,
    "folder": Folder,
    "shards": Shards,
    "arrays": Arrays,
    "imagenet": ImageNet,
    "speech_commands": SpeechCommands,
    "table": Table,
    "graphs": GraphFold,
}
