"""ImageNet-1k and its subset ImageNet-100: what they are as published, and their knobs."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mixbench.errors import ConfigError
from mixbench.files import expanded
from mixbench.inventory.paths import data_dir as resolve_data_dir
from mixbench.schema.examples import DataDir, ImageDataset
from mixbench.schema.knob import knob
from mixbench.schema.photographs import Photographs, Streamable
from mixbench.schema.specs import DataSpec

if TYPE_CHECKING:
    from mixbench.inventory.folder import Picture, PictureFolder

# Those of Tian, Krishnan and Isola, Contrastive Multiview Coding, ECCV 2020 (imagenet100.txt of their code), in
# alphabetical order.
_CMC = """
n01558993 n01692333 n01729322 n01735189 n01749939 n01773797 n01820546 n01855672 n01978455 n01980166
n01983481 n02009229 n02018207 n02085620 n02086240 n02086910 n02087046 n02089867 n02089973 n02090622
n02091831 n02093428 n02099849 n02100583 n02104029 n02105505 n02106550 n02107142 n02108089 n02109047
n02113799 n02113978 n02114855 n02116738 n02119022 n02123045 n02138441 n02172182 n02231487 n02259212
n02326432 n02396427 n02483362 n02488291 n02701002 n02788148 n02804414 n02859443 n02869837 n02877765
n02974003 n03017168 n03032252 n03062245 n03085013 n03259280 n03379051 n03424325 n03492542 n03494278
n03530642 n03584829 n03594734 n03637318 n03642806 n03764736 n03775546 n03777754 n03785016 n03787032
n03794056 n03837869 n03891251 n03903868 n03930630 n03947888 n04026417 n04067472 n04099969 n04111531
n04127249 n04136333 n04229816 n04238763 n04336792 n04418357 n04429376 n04435653 n04485082 n04493381
n04517823 n04589890 n04592741 n07714571 n07715103 n07753275 n07831146 n07836838 n13037406 n13040303
"""
CMC = tuple(_CMC.split())
# Classes, training and validation pictures as published; of ImageNet-100 those of CMC's list.
SIZES = {"imagenet": (1000, 1_281_167, 50_000), "imagenet100": (100, 126_689, 5_000)}
OF_A_CLASS = {"train": (732, 1300), "val": (50, 50)}  # fewest and most pictures
LAYOUT = "DIR/train/WNID/*.JPEG and DIR/val/WNID/*.JPEG, WNID such as n01440764"
SHOWN = 5  # of many classes, in a message


def incomplete(found: PictureFolder) -> str:
    """What a set lacks of the published one, for all that is written about a run; empty where nothing does."""

    def odd(pictures: Sequence[Picture], part: str) -> list[str]:
        counts = Counter(p.label for p in pictures)
        least, most = OF_A_CLASS[part]
        return [
            f"{part}/{name} {counts[k]}"
            for k, name in enumerate(found.classes)
            if not least <= counts[k] <= most
        ]

    bad = [*odd(found.train, "train"), *odd(found.test, "val")]
    if not bad:
        return ""
    more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    return (
        "not the whole set: a class of ImageNet has 732 to 1300 training pictures and 50 for validation, here"
        f" {', '.join(bad[:SHOWN])}{more}"
    )


@dataclass
class ImageNet(Photographs, Streamable, ImageDataset):
    """ImageNet-1k (ILSVRC 2012), or a hundred of its classes; the validation pictures are the test set.

    Source: Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015.
    """

    name: str = knob("the data set", choices=list(SIZES))
    path: str = knob(
        f"where it lies: {LAYOUT}; empty: the folder imagenet in data_dir",
        default="",
        scientific=False,
    )
    size: int = knob(
        "side of the squares that pictures are made, in pixels", default=224, at_least=1, at_most=4096
    )
    wnids: list[str] | None = knob(
        "WordNet ids of the hundred classes of imagenet100; null: those of Contrastive Multiview Coding",
        default=None,
    )

    def resolved(self, data_dir: DataDir) -> ImageNet:
        return dataclasses.replace(self, path=self.path or str(resolve_data_dir(data_dir) / "imagenet"))

    def lacking(self, data_dir: DataDir = None) -> str:
        """What is missing before it can be trained on; empty where the folder is there."""
        root = expanded(self.path or str(resolve_data_dir(data_dir) / "imagenet"))
        if (root / "train").is_dir() and (root / "val").is_dir():
            return ""
        return f"{self.name}: not in {root}; dataset.path=DIR, with {LAYOUT}"

    def classes(self) -> Sequence[str]:
        """The WordNet ids to take; () for all that there are."""
        return (self.wnids or CMC) if self.name == "imagenet100" else ()

    def found(self, data_dir: DataDir = None) -> PictureFolder:
        """What lies there. Raises ConfigError for other classes than those of the set, DataError."""
        from mixbench.inventory import folder

        found = folder.look(self.path, data_dir, test="val", only=self.classes())
        number, missing = SIZES[self.name][0], sorted(set(self.classes()) - set(found.classes))
        if len(found.classes) != number:
            lacks = (
                f": {', '.join(missing[:SHOWN])}{' ...' * (len(missing) > SHOWN)} missing" if missing else ""
            )
            raise ConfigError(
                f"dataset.path={self.path}: has {len(found.classes)} of the {number} classes of {self.name}{lacks}."
                " Other photographs are read with dataset=folder."
            )
        if not found.test:
            raise ConfigError(
                f"dataset.path={self.path}: has no folder val with pictures. The layout is {LAYOUT}."
            )
        return found

    def spec(self) -> DataSpec:
        number, train, val = SIZES[self.name]
        classes: tuple[str, ...] = ()
        if not self.lacking():
            found = self.found()
            classes, train, val = found.classes, len(found.train), len(found.test)
        return DataSpec(
            name=self.name,
            title="photographs, 1000 classes"
            if number == 1000
            else "photographs of a hundred classes of ImageNet",
            source="Russakovsky et al. 2015, ImageNet Large Scale Visual Recognition Challenge (for research alone)",
            num_classes=number,
            train_size=train,
            test_size=val,
            shape=(self.size, self.size, 3),
            labels="position of the WordNet id in alphabetical order",
            classes=classes,
            trap="the test set is the official validation set, as the test pictures have no labels",
        )

    def problems(self) -> Iterator[str]:
        if self.name not in SIZES:
            return
        if self.wnids is not None and self.name != "imagenet100":
            yield "dataset.wnids: is of dataset=imagenet100 alone; imagenet has all classes."
        elif self.wnids is not None and len(set(self.wnids)) != 100:
            yield f"dataset.wnids: has {len(set(self.wnids))} different WordNet ids; imagenet100 has 100."
        else:
            yield from self.crop_problems()
            try:
                yield from super().problems()
            except ConfigError as error:  # of what lies there: one line among others
                yield str(error)
