"""Sets of graphs for tests: drawn at random, and one under the name and the sizes of MUTAG that a network learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mixbench.data.gin_text import Fold, Graphs
from mixbench.data.store.graphs import import_graphs
from mixbench.schema.graphs import FOLDS, GRAPHS, GraphSpec

SPEC = GRAPHS["mutag"]


def random_graphs(
    count: int, seed: int, *, features: int, classes: int, least: int, share: float, folds: int = 0
) -> Graphs:
    """Undirected graphs of `least` to 9 nodes, with this share of the possible edges; of `folds` + 1 parts, that by its
    number modulo, each fold tests one.
    """
    rng = np.random.default_rng(seed)
    nodes, edges, source, target, told = [0], [0], [], [], []
    for _ in range(count):
        n = rng.integers(least, 10)
        upper = np.triu(rng.random((n, n)) < share, 1)
        to, start = np.nonzero(upper | upper.T)
        nodes.append(nodes[-1] + n)
        edges.append(edges[-1] + len(to))
        source.append(start)
        target.append(to)
        told.append(rng.integers(0, features, n))
    parts = np.arange(count) % (folds + 1)
    cuts = tuple(Fold(np.flatnonzero(parts != k), np.flatnonzero(parts == k)) for k in range(folds))
    spec = GraphSpec("ours", "", "", count, classes, "tag", features, "")
    joined = map(np.concatenate, (told, source, target))
    return Graphs(spec, rng.integers(0, classes, count), np.array(nodes), np.array(edges), *joined, cuts)


def import_molecules(source: Path, root: Path, seed: int = 0) -> None:
    """188 rings (label 1) and paths (label -1) of 5 to 12 atoms of seven kinds, written below `source`, imported below
    `root`. As in MUTAG ten folds test 18 graphs each.
    """
    rng = np.random.default_rng(seed)
    text = [str(SPEC.graphs)]
    for number in range(SPEC.graphs):
        ring, n = number % 2, int(rng.integers(5, 13))
        tags = [min(number, 6), *rng.integers(2 * ring, 5 + 2 * ring, n - 1)]
        text.append(f"{n} {2 * ring - 1}")
        for i in range(n):
            near = sorted({(i - 1) % n, (i + 1) % n} if ring else {i - 1, i + 1} & set(range(n)))
            text.append(" ".join(map(str, [tags[i], len(near), *near])))
    folder = source / SPEC.file / "10fold_idx"
    folder.mkdir(parents=True)
    (source / f"{SPEC.file}.txt").write_text("\n".join(text) + "\n")
    order = rng.permutation(SPEC.graphs)
    for k in range(FOLDS):
        test = order[18 * k : 18 * (k + 1)]
        for part, chosen in (("test", test), ("train", np.setdiff1d(order, test))):
            (folder / f"{part}_idx-{k + 1}.txt").write_text("\n".join(map(str, chosen)) + "\n")
    import_graphs(SPEC, source, root)
