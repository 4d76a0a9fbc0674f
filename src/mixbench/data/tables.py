"""Tables as they are trained on: cut into parts, missing values filled in, categories one-hot."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from mixbench.data.order import derived_seed
from mixbench.data.splits import Split, Splits
from mixbench.data.store import cache, prepare, tables
from mixbench.data.subset import split_off
from mixbench.errors import DataError
from mixbench.inventory.paths import data_dir as resolve_data_dir
from mixbench.schema.tables import Table, TableSpec

DataDir = str | os.PathLike[str] | None


def load_table(options: Table, data_dir: DataDir) -> Splits:
    """The table of an option, prepared first if need be. Raises DataError where it cannot be had, or is damaged."""
    spec, root = options.spec(), resolve_data_dir(data_dir)
    meta = cache.read_meta(root, spec.name)
    if meta is None:
        try:
            meta = prepare.prepare(spec, root)
        except DataError as error:
            if not (spec.embedded and isinstance(error.__cause__, OSError)):
                raise
    # Where nothing can be written, nothing needs to be for a table that comes with scikit-learn.
    arrays = tables.shipped(spec).arrays if meta is None else cache.read(root, meta)
    sha256 = {key: cache.checksum(array) for key, array in arrays.items()} if meta is None else meta.sha256
    train, val, test = parts(arrays["labels"], *options.shares(), options.split_seed)
    encoded = encoder(spec).fit(arrays["inputs"][train])

    def split(rows: NDArray[np.int64]) -> Split:
        numbers = encoded.transform(arrays["inputs"][rows]).astype(np.float32)
        return Split(numbers, np.asarray(arrays["labels"])[rows])

    note = "" if meta is None else meta.note
    return Splits(spec, split(train), split(val), split(test), note, sha256=sha256)


def parts(
    labels: NDArray[np.int64], val: int, test: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Ascending positions of the training rows, of `val` validation and `test` test rows, stratified, by a seed."""
    random = derived_seed("split", seed) % 2**32
    tested, rest = split_off(labels, test, random)
    held, trained = split_off(labels[rest], val, random)
    return rest[trained], rest[held], tested


def encoder(spec: TableSpec) -> ColumnTransformer:
    """What fills in missing values, numbers by the mean and categories by the most frequent one, and makes a column of
    0 and 1 for each value of a category: first the numbers, then the categories, each in their order.
    """
    numbers = [i for i in range(spec.columns) if i not in spec.categories]
    values = [range(len(names)) for names in spec.categories.values()]
    one_hot = make_pipeline(
        SimpleImputer(strategy="most_frequent", keep_empty_features=True),
        OneHotEncoder(categories=[list(v) for v in values], sparse_output=False),
    )
    filled = SimpleImputer(keep_empty_features=True)
    steps = [("numbers", filled, numbers), ("categories", one_hot, list(spec.categories))]
    return ColumnTransformer([step for step in steps if step[2]])
