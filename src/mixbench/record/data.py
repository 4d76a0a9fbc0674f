"""The data that a run was trained on, and whether those that are here now are the same: by the checksums in its record.

A published set is in a run's identity by its name alone, and two folders may hold different arrays under one name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mixbench import data
from mixbench.errors import DataError
from mixbench.record.run import SavedRun
from mixbench.schema.train import Train

SHOWN = 12  # digits of a checksum


def other_data(run: SavedRun, config: Train) -> str:
    """In words, how the data that `config` asks for differ from those that the run was trained on; else empty.

    Nothing is loaded: of data that are not prepared here, or whose loader comes from a plugin, only training can tell.
    """
    if not run.data:
        return ""
    try:
        here = data.checksums(config.dataset, config.data_dir)
    except DataError:  # which training will name
        return ""
    return difference(run.directory, config.dataset.label(), run.data, here)


def difference(directory: Path, name: str, before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The same of two sets of checksums, those of the run in `directory` and others of the set `name`."""
    differing = [key for key, found in now.items() if before.get(key, found) != found]
    if not differing:
        return ""
    key = differing[0]
    more = f", and {', '.join(differing[1:])} too" if differing[1:] else ""
    return (
        f"{directory}: was trained on other data than there are now under the name {name}: the SHA-256 of {key} was"
        f" {before[key][:SHOWN]}... and is {now[key][:SHOWN]}...{more}.\n"
        "Give the data_dir of the old ones, or another output_dir for these; force=true starts over and keeps the"
        " directory under another name."
    )


def mixed(runs: Sequence[SavedRun]) -> list[str]:
    """A note for each data set of which the runs were trained on different arrays."""
    seen = dict[tuple[str, str], set[str]]()
    for run in runs:
        for key, found in run.data.items():
            seen.setdefault((str(run.summary.get("dataset")), key), set()).add(found)
    return [
        f"{key} of {name} were not the same in all runs (SHA-256 {', '.join(f'{f[:SHOWN]}...' for f in sorted(found))})"
        for (name, key), found in sorted(seen.items())
        if len(found) > 1
    ]
