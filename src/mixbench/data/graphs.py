"""Sets of graphs, loaded from where `mixbench data import` has put them.

graphs = load("mutag")
graphs.folds[0].test      # which graphs the first fold is tested on
"""

from __future__ import annotations

import dataclasses
import os

from mixbench.data.gin_text import Fold, Graphs, read
from mixbench.data.splits import Split, Splits, cut
from mixbench.data.store.graphs import noted, verified
from mixbench.errors import DataError
from mixbench.inventory.paths import data_dir as resolve_data_dir
from mixbench.schema.graphs import GraphFold, as_fold, find_graphs

__all__ = ["Fold", "Graphs", "load", "load_graphs"]


def load(name: str, data_dir: str | os.PathLike[str] | None = None) -> Graphs:
    """The set `name`, once its files have been compared with their checksums.

    Raises ConfigError for an unknown one, DataError where it is missing or damaged.
    """
    spec, root = find_graphs(name), resolve_data_dir(data_dir)
    if verified(root, spec) is None:
        raise DataError(
            f"{root / name}: {name} is not there, and is not downloaded: the official archive has neither the folds nor"
            f" this layout. `mixbench data import {name} PATH` takes it from dataset.zip of"
            f" https://github.com/weihua916/powerful-gnns, or from a zip or folder with {spec.file}.txt and"
            f" {spec.file}/10fold_idx."
        )
    return read(spec, root / name)


def load_graphs(options: GraphFold, data_dir: str | os.PathLike[str] | None) -> Splits:
    """The fold of an option, packed (see `models.packed`). Raises as `load` does."""
    from mixbench.data.packed import packed

    graphs, root = load(options.name, data_dir), resolve_data_dir(data_dir)
    rows, fold, found = packed(graphs), graphs.folds[options.fold], graphs.spec
    spec = dataclasses.replace(
        as_fold(found),
        shape=(rows.shape[1], found.features),
        train_size=len(fold.train),
        test_size=len(fold.test),
    )
    train, test = (Split(rows[chosen], graphs.labels[chosen]) for chosen in (fold.train, fold.test))
    words = verified(root, found) or ""
    sizes = {key: getattr(options, key) for key in ("train_size", "test_size", "val_size")}
    note = words if "another" in words else ""
    return cut(spec, train, test, note, **sizes, sha256=noted(root, found))
