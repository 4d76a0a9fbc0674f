"""What every set of graphs is: sizes, classes, what a node is told by, checksums. Imports nothing heavy.

The six sets of the TU collection on which GIN was tried, in the text format of its authors, with their ten folds
(https://github.com/weihua916/powerful-gnns). The official archives of the collection, at
https://www.chrsmrrs.com/graphkerneldatasets/NAME.zip, have another layout and no folds, so that none is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass

from mixbench.errors import ConfigError
from mixbench.schema.knob import nearest


@dataclass(frozen=True)
class GraphSpec:
    """One set of graphs.

    `file` is the name of its text without `.txt`, and of the folder with its folds; `nodes` says what a node is told
    by, "tag" (its own, such as the element of an atom) or "degree"; `features` is the number of different ones, which
    are coded one-hot. `sha256` is the checksum of the text.
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
