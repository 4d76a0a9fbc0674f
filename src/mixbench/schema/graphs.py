"""What every set of graphs is: sizes, classes, what a node is told by, checksums. Imports nothing heavy.

The six sets of the TU collection on which GIN was tried, in the text format of its authors, with their ten folds
(https://github.com/weihua916/powerful-gnns). The official archives of the collection, at
https://www.chrsmrrs.com/graphkerneldatasets/NAME.zip, have another layout and no folds, so that none is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass

from mixbench.errors import ConfigError
from mixbench.inventory.paths import data_dir as resolve_data_dir
from mixbench.schema.examples import DataDir, Sized
from mixbench.schema.knob import knob, nearest
from mixbench.schema.specs import DataSpec


@dataclass(frozen=True)
class GraphSpec:
    """One set of graphs.

    `file` is the name of its text without `.txt`, and of the folder with its folds; `nodes` says what a node is told
    by, "tag" (its own, such as the element of an atom) or "degree"; `features` is the number of different ones, which
    are coded one-hot. `sha256` is the checksum of the text, `length` how many numbers the largest graph is packed into
    (see `mixbench.models.packed`).
    """

    name: str
    title: str
    file: str
    graphs: int
    num_classes: int
    nodes: str
    features: int
    sha256: str
    kind: str = "graph"
    length: int = 0


FOLDS = 10

_ALL = (
    GraphSpec(
        name="mutag",
        title="molecules that are mutagenic, or not",
        file="MUTAG",
        graphs=188,
        num_classes=2,
        nodes="tag",
        features=7,
        length=98,
        sha256="5897dae243f6c773aab54ec99e86551c3b1e8601acef254714073042c632d30e",
    ),
    GraphSpec(
        name="ptc",
        title="molecules that are carcinogenic for male rats, or not",
        file="PTC",
        graphs=344,
        num_classes=2,
        nodes="tag",
        features=19,
        length=329,
        sha256="711729eaf2a5308752aa7c11062dd99f645f978afc400909a5927051b314ec55",
    ),
    GraphSpec(
        name="proteins",
        title="proteins that are enzymes, or not",
        file="PROTEINS",
        graphs=1113,
        num_classes=2,
        nodes="tag",
        features=3,
        length=2722,
        sha256="ed0730f9bf9da68aa6a8c80f2f2b6ecea5d05791ca254c709f3efab3b45d937b",
    ),
    GraphSpec(
        name="nci1",
        title="molecules that slow lung cancer cells, or not",
        file="NCI1",
        graphs=4110,
        num_classes=2,
        nodes="tag",
        features=37,
        length=353,
        sha256="415d2e0861484c2baef1e40ee3ca62dd13c06d6b99549fb25774f43533e9321d",
    ),
    GraphSpec(
        name="imdb_binary",
        title="who played with whom, action or romance",
        file="IMDBBINARY",
        graphs=1000,
        num_classes=2,
        nodes="degree",
        features=65,
        length=2638,
        sha256="1068c698677c07c04f3ad56fc4a175cb2161523c840abfdaf50e101ecc30504f",
    ),
    GraphSpec(
        name="imdb_multi",
        title="who played with whom, comedy, romance or science fiction",
        file="IMDBMULTI",
        graphs=1500,
        num_classes=3,
        nodes="degree",
        features=59,
        length=3027,
        sha256="f4cc1b32112303bf1b16a8351df8b8073978fdead823775fbe79e60cf94e7009",
    ),
)

GRAPHS: dict[str, GraphSpec] = {spec.name: spec for spec in _ALL}


def find_graphs(name: str) -> GraphSpec:
    """The set of graphs called `name`. Raises ConfigError where there is none."""
    if name not in GRAPHS:
        raise ConfigError(
            f"no set of graphs '{name}'.{nearest(name, list(GRAPHS))} Allowed: {', '.join(GRAPHS)}."
        )
    return GRAPHS[name]


@dataclass
class GraphFold(Sized):
    """Graphs of the TU collection, cut into training and test graphs by one of the ten folds of GIN's authors.

    Source: Morris et al., TUDataset, 2020; folds and features of Xu et al., How Powerful are Graph Neural Networks?,
    ICLR 2019.
    """

    name: str = knob("the set", choices=list(GRAPHS))
    fold: int = knob(
        "which fold is tested on, the others being trained on", at_least=0, at_most=FOLDS - 1, repeats=True
    )

    def graphs(self) -> GraphSpec:
        return find_graphs(self.name)

    def spec(self) -> DataSpec:
        return as_fold(self.graphs())

    def lacking(self, data_dir: DataDir = None) -> str:
        """What is missing before it can be trained on; empty where it was imported."""
        here = (resolve_data_dir(data_dir) / self.name).exists()
        return "" if here else f"{self.name}: mixbench data import {self.name} PATH"


def as_fold(graphs: GraphSpec) -> DataSpec:
    """A fold of the set as it is trained on. All ten are of one size."""
    test = graphs.graphs // FOLDS
    return DataSpec(
        name=graphs.name,
        title=graphs.title,
        source="TU collection, in the form of Xu et al. 2019",
        num_classes=graphs.num_classes,
        train_size=graphs.graphs - test,
        test_size=test,
        shape=(graphs.length, graphs.features),
        labels="position of the class in ascending order",
        kind="graph",
    )
