"""Data sets: loaded into plain arrays, or as files that are read for every batch, and made into batches.

    splits = load("cifar100", train_size=10_000, val_size=1_000)
    splits.train.inputs        # uint8 (10000, 32, 32, 3)

What a config's data set option asks for comes from `of_option`, through the loader in `LOADERS` with the option's name.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mixbench.data.splits import Split, Splits, cut
from mixbench.errors import DataError
from mixbench.inventory.paths import data_dir as resolve_data_dir
from mixbench.schema.graphs import GRAPHS
from mixbench.schema.published import PUBLISHED
from mixbench.schema.specs import SPECS, DataSpec, find
from mixbench.schema.tables import TABLES

if TYPE_CHECKING:  # listing data sets needs neither NumPy nor torch
    import torch

    from mixbench.data.kinds import Kind
    from mixbench.data.store.cache import Arrays
    from mixbench.seams import Examples

__all__ = ["LOADERS", "Split", "Splits", "checksums", "examples", "lacking", "load", "of_option"]

DataDir = str | os.PathLike[str] | None
Loader = Callable[[Any, DataDir], Splits]


def load(
    name: str,
    data_dir: DataDir = None,
    *,
    train_size: int | None = None,
    test_size: int | None = None,
    val_size: int | None = None,
    mirrors: Sequence[str] = (),
) -> Splits:
    """The data set `name`, which is prepared first (downloaded if need be) unless it is there already.

    `val_size` images are held out from the official training set, then `train_size` are taken from the
    others, and `test_size` from the official test set; all are stratified and the same for every seed.
    `data_dir` and `mirrors` as in `paths.data_dir` and `download.addresses`.

    Raises ConfigError for an unknown name or a size the set does not have, DataError for a set that is
    missing, damaged or cannot be written.
    """
    spec = find(name)
    arrays, note, sha256 = _arrays(spec, data_dir, mirrors)
    train = Split(arrays["train_images"], arrays["train_labels"])
    test = Split(arrays["test_images"], arrays["test_labels"])
    sizes = {"train_size": train_size, "test_size": test_size, "val_size": val_size}
    return cut(spec, train, test, note, sha256=sha256, **sizes)


def checksums(options: Any, data_dir: DataDir) -> Mapping[str, str]:
    """`Splits.sha256` of what a config's option asks for, as noted when it was prepared; nothing is loaded for it.

    Empty where only loading tells: of a set that is not prepared, and of one whose loader comes from a plugin. Raises
    DataError where the note is unreadable.
    """
    if options.name in NOTED:
        return NOTED[options.name](options, data_dir)
    if options.name not in PUBLISHED:
        content = getattr(options, "content", None)
        return {"content": content} if content else {}
    from mixbench.data.store.cache import read_meta

    meta = read_meta(resolve_data_dir(data_dir), options.name)
    return {} if meta is None else meta.sha256


def lacking(options: Any, data_dir: DataDir) -> str:
    """What a config's data set lacks on this machine before it can be trained on; empty where nothing is known to."""
    if options.name not in PUBLISHED:
        return options.lacking(data_dir) if hasattr(options, "lacking") else ""
    from mixbench.data.store.cache import read_meta

    try:
        meta = read_meta(resolve_data_dir(data_dir), options.name)
    except DataError as error:
        return str(error).rstrip(".")
    if meta is None:
        return (
            ""
            if PUBLISHED[options.name].embedded
            else f"{options.name}: mixbench data prepare {options.name}"
        )
    return f"{options.name}: {meta.note}" if meta.state == "partial" else ""


def _arrays(
    spec: DataSpec, data_dir: DataDir, mirrors: Sequence[str]
) -> tuple[Arrays, str, Mapping[str, str]]:
    """The four arrays of `spec`, prepared first if need be, the note on them, and their checksums."""
    from mixbench.data.store import cache

    root = resolve_data_dir(data_dir)
    meta = cache.read_meta(root, spec.name)
    if meta is None:
        from mixbench.data.store import official, prepare

        try:
            meta = prepare.prepare(spec, root, mirrors)
        except DataError as error:
            if not (spec.embedded and isinstance(error.__cause__, OSError)):
                raise
            arrays = official.digits(spec).arrays  # nothing can be written here, and nothing needs to be
            return arrays, "", {key: cache.checksum(array) for key, array in arrays.items()}
    return cache.read(root, meta), meta.note, meta.sha256


def _published(options: Any, data_dir: DataDir) -> Splits:
    sizes = {key: getattr(options, key) for key in ("train_size", "test_size", "val_size")}
    return load(options.name, data_dir, **sizes, mirrors=options.mirrors)


def _folder(options: Any, data_dir: DataDir) -> Splits:
    from mixbench.data.own import load_folder

    return load_folder(options, data_dir)


def _arrays_file(options: Any, data_dir: DataDir) -> Splits:
    from mixbench.data.own import load_arrays

    return load_arrays(options, data_dir)


def _imagenet(options: Any, data_dir: DataDir) -> Splits:
    from mixbench.data.own import load_imagenet

    return load_imagenet(options, data_dir)


def _table(options: Any, data_dir: DataDir) -> Splits:
    from mixbench.data.tables import load_table

    return load_table(options, data_dir)


def _speech(options: Any, data_dir: DataDir) -> Splits:
    from mixbench.data.speech import load_speech

    return load_speech(options, data_dir)


def _graphs(options: Any, data_dir: DataDir) -> Splits:
    from mixbench.data.graphs import load_graphs

    return load_graphs(options, data_dir)


def _clips_listed(options: Any, data_dir: DataDir) -> Mapping[str, str]:
    from mixbench.data.speech import listing

    return listing(options, data_dir)


def _graphs_noted(options: Any, data_dir: DataDir) -> Mapping[str, str]:
    from mixbench.data.store.graphs import noted

    return noted(resolve_data_dir(data_dir), options.graphs())


# By the name of the option. A loader takes the option and the data folder (None: as in `paths.data_dir`).
LOADERS: dict[str, Loader] = {
    **dict.fromkeys(SPECS, _published),
    **dict.fromkeys(TABLES, _table),
    "folder": _folder,
    "shards": _folder,
    "arrays": _arrays_file,
    **dict.fromkeys(GRAPHS, _graphs),
    "speech_commands": _speech,
    "imagenet": _imagenet,
    "imagenet100": _imagenet,
}
# The `checksums` of options that keep a note of them elsewhere than published arrays do.
NOTED: dict[str, Callable[[Any, DataDir], Mapping[str, str]]] = {
    "speech_commands": _clips_listed,
    **dict.fromkeys(GRAPHS, _graphs_noted),
}


def of_option(options: Any, data_dir: DataDir, device: torch.device, loader: Loader | None = None) -> Splits:
    """The data set that a config's option describes, ready for `examples` on this device.

    `loader` is that of an option which is not in `LOADERS`.
    Raises ConfigError for sizes that it does not have, DataError for data that is missing or damaged.
    """
    splits = (loader or LOADERS[options.name])(options, data_dir)
    if not splits.sha256:
        splits = dataclasses.replace(splits, sha256=_summed(splits))
    return _kind(splits.spec.kind).placed(splits, options, device, resolve_data_dir(data_dir))


def _kind(name: str) -> Kind:
    from mixbench.data.kinds import kind  # which imports torch

    return kind(name)


def _summed(splits: Splits) -> dict[str, str]:
    """The checksums of the parts themselves, for a loader that does not tell them."""
    import numpy as np

    from mixbench.data.store.cache import checksum

    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    found = dict[str, str]()
    for name, part in parts.items():
        if part is not None:
            inputs = part.inputs
            found[f"{name}_inputs"] = inputs.key if hasattr(inputs, "key") else checksum(np.asarray(inputs))
            found[f"{name}_labels"] = checksum(part.labels)
    return found


def examples(split: Split, kind: str = "image", **how: Any) -> Examples:
    """One part of a set as batches on a device. `how` are the keyword arguments of the kind's own `examples`."""
    return _kind(kind).examples(split, **how)
