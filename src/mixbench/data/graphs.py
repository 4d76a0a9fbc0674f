"""Sets of graphs, loaded from where `mixbench data import` has put them.

graphs = load("mutag")
graphs.folds[0].test      # which graphs the first fold is tested on
"""

from __future__ import annotations

import os

from mixbench.data.gin_text import Fold, Graphs, read
from mixbench.data.store.graphs import verified
from mixbench.errors import DataError
from mixbench.inventory.paths import data_dir as resolve_data_dir
from mixbench.schema.graphs import find_graphs

__all__ = ["Fold", "Graphs", "load"]


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
