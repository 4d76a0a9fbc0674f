"""The text format in which GIN's authors keep sets of graphs: read, checked line by line, and kept as a few arrays.

The text begins with the number of graphs. Each graph is a line "n label" and n lines "tag degree neighbour ...", one
for each node, whose neighbours are counted from 0 within the graph. NAME/10fold_idx/{train,test}_idx-K.txt hold the
graphs of fold K, counted from 0, one a line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixbench.errors import DataError
from mixbench.schema.graphs import FOLDS, GraphSpec

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """The graphs that are trained on, and those that are tested on, int64."""

    train: Indices
    test: Indices


@dataclass(frozen=True)
class Graphs:
    """Graphs as arrays, the nodes of all of them one after another.

    `labels` int64 (G,) in 0..C-1, in the order of the labels in the file. `nodes` and `edges` int64 (G + 1,): those
    of graph g are nodes[g]:nodes[g+1] and edges[g]:edges[g+1]. `features` int64 (N,) in 0..D-1 is what a node is told
    by, coded one-hot, in ascending order of the tags or degrees that occur. `source`, `target` int64 (E,) are the
    nodes of each edge, counted within its graph and sorted by target; every edge is there in both directions.
    """

    spec: GraphSpec
    labels: Indices
    nodes: Indices
    edges: Indices
    features: Indices
    source: Indices
    target: Indices
    folds: tuple[Fold, ...]

    def __len__(self) -> int:
        return len(self.labels)


def read(spec: GraphSpec, folder: Path) -> Graphs:
    """The set in `folder`: FILE.txt and FILE/10fold_idx. Raises DataError that names the file and what is wrong."""
    path = folder / f"{spec.file}.txt"
    graphs = list(_graphs(path, _text(path)))
    if not graphs:
        raise _bad(path, "line 1: it has no graphs")
    given, tags, degrees, neighbours = zip(*graphs, strict=True)
    classes = sorted(set(given))
    if len(graphs) != spec.graphs or len(classes) != spec.num_classes:
        raise _bad(
            path,
            f"{len(graphs)} graphs with {len(classes)} labels, where {spec.name} has {spec.graphs} with"
            f" {spec.num_classes}",
        )
    told = np.concatenate(degrees if spec.nodes == "degree" else tags)
    kinds, features = np.unique(told, return_inverse=True)
    if len(kinds) != spec.features:
        raise _bad(
            path, f"{len(kinds)} different {spec.nodes}s of nodes, where {spec.name} has {spec.features}"
        )
    return Graphs(
        spec=spec,
        labels=np.searchsorted(np.array(classes), np.array(given)),
        nodes=_starts([len(tag) for tag in tags]),
        edges=_starts([len(n) for n in neighbours]),
        features=features.astype(np.int64),
        source=np.concatenate(neighbours),
        target=np.concatenate([np.repeat(np.arange(len(d)), d) for d in degrees]),
        folds=tuple(_fold(folder / spec.file / "10fold_idx", k, len(graphs)) for k in range(1, FOLDS + 1)),
    )


def _graphs(path: Path, text: str) -> Iterator[tuple[int, Indices, Indices, Indices]]:
    """Of each graph: its label, the tags and the degrees of its nodes, and their neighbours one after another."""
    lines = text.rstrip().split("\n")
    (count,) = _numbers(path, lines, 0, "the number of graphs", 1)
    at = 1
    for number in range(count):
        where = f"graph {number}"
        n, label = _numbers(path, lines, at, where, 2)
        if n < 1:
            raise _bad(path, f"line {at + 1}: {where} has {n} nodes")
        tags, degrees, neighbours = [], [], list[int]()
        for node in range(n):
            row = _numbers(path, lines, at + 1 + node, f"{where}, node {node}", None)
            if len(row) < 2 or len(row) != 2 + row[1] or not all(0 <= i < n and i != node for i in row[2:]):
                raise _bad(
                    path,
                    f"line {at + 2 + node}: '{lines[at + 1 + node][:60]}' is not a tag, the number of neighbours and"
                    f" these neighbours, other nodes in 0..{n - 1}, of {where}, node {node}",
                )
            tags.append(row[0])
            degrees.append(row[1])
            neighbours += row[2:]
        ends = set(zip(np.repeat(np.arange(n), degrees).tolist(), neighbours, strict=True))
        one_way = next(((i, j) for i, j in sorted(ends) if (j, i) not in ends), None)
        if one_way or len(ends) != len(neighbours):
            what = (
                f"node {one_way[1]} does not name node {one_way[0]}" if one_way else "an edge is there twice"
            )
            raise _bad(path, f"lines {at + 1} to {at + 1 + n}: {where} is not undirected: {what}")
        yield label, np.array(tags), np.array(degrees), np.array(neighbours, np.int64)
        at += 1 + n
    if at != len(lines):
        raise _bad(path, f"line {at + 1}: there is more after {count} graphs, the number in line 1")


def _numbers(path: Path, lines: list[str], at: int, what: str, count: int | None) -> list[int]:
    if at >= len(lines):
        raise _bad(path, f"ends after line {len(lines)}, before {what}: it is cut off")
    try:
        row = [int(word) for word in lines[at].split()]
    except ValueError:
        row = []
    if not row or (count is not None and len(row) != count):
        raise _bad(
            path,
            f"line {at + 1}: '{lines[at][:60]}' is not {what}, as {count or 'at least two'} whole numbers",
        )
    return row


def _fold(folder: Path, number: int, graphs: int) -> Fold:
    """A fold whose parts have no graph in common and together have all.

    The ten test parts need not: those of MUTAG, PTC and PROTEINS are of equal sizes, and leave a few graphs out.
    """
    parts = list[Indices]()
    for part in ("train", "test"):
        path = folder / f"{part}_idx-{number}.txt"
        lines = _text(path).rstrip().split("\n")
        rows = [_numbers(path, lines, at, "the index of a graph", 1)[0] for at in range(len(lines))]
        outside = next((at for at, index in enumerate(rows) if not 0 <= index < graphs), None)
        if outside is not None:
            raise _bad(path, f"line {outside + 1}: graph {rows[outside]}, where there are 0..{graphs - 1}")
        parts.append(np.array(rows, np.int64))
    times = np.bincount(np.concatenate(parts), minlength=graphs)
    if (times != 1).any():
        graph = int(np.flatnonzero(times != 1)[0])
        raise _bad(
            folder / f"test_idx-{number}.txt",
            f"with train_idx-{number}.txt it has graph {graph} {times[graph]} times, where each must be in one of both",
        )
    return Fold(*parts)


def _starts(counts: list[int]) -> Indices:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no plain text"
        raise _bad(path, f"cannot be read ({reason})") from error


def _bad(path: Path, what: str) -> DataError:
    return DataError(
        f"{path}: {what}. Nothing was read from it; import the set anew with `mixbench data import --replace NAME"
        " PATH`, from an undamaged copy."
    )
