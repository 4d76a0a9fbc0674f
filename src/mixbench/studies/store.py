"""Where a study's numbers lie: FOLDER/studies/KEY/, made part by part.

    numbers.csv    all numbers; the column `part` says which part of the study they are of
    about.json     the parameters, the seconds that each part took, what computed it, and the checksum of what
                   numbers.csv holds of them

Numbers of other parameters, or damaged ones, count as not there, and stderr says why. Imports no torch.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixbench import __version__
from mixbench.errors import DataError, output_error
from mixbench.files import plain, read_bounded, write_atomic, write_json
from mixbench.machine.output import printable
from mixbench.record.schema import MOST_JSON
from mixbench.studies.library import Spec

if TYPE_CHECKING:
    import pandas as pd

MOST_BYTES = 2**28  # of a study's numbers; the largest of ours has a megabyte


def place(folder: Path, spec: Spec) -> Path:
    """The directory of a study's numbers. Of a spec in a file of one's own, it has the file's name; with other
    parameters than the spec's, a hash of them behind the name, so that trying them leaves the spec's numbers alone.
    """
    name = Path(spec.key).stem if spec.key.endswith(".yaml") else spec.key
    if spec.changes:
        text = json.dumps(plain(dataclasses.asdict(spec.parameters)), sort_keys=True)
        name += f"~{hashlib.sha256(text.encode()).hexdigest()[:6]}"
    return folder / "studies" / name


def missing(folder: Path, spec: Spec) -> list[str]:
    """The parts that have not been computed."""
    about, _ = _kept(folder, spec)
    return [part for part in spec.study.parts(spec.parameters) if part not in about["seconds"]]


def computed(
    folder: Path, spec: Spec, progress: bool = True, only: Callable[[str], bool] = lambda part: True
) -> pd.DataFrame | None:
    """The numbers of all parts; those that are missing are computed, and kept one by one.

    `only` says of which parts. Of a study that is `partial`, a part without its data is told on stderr and left out,
    and None is the answer where none could be computed. Raises OutputError, and DataError where data are missing.
    """
    from tqdm import tqdm

    directory = place(folder, spec)
    about, content = _kept(folder, spec)
    wanted = [part for part in missing(folder, spec) if only(part)]
    for part in tqdm(wanted, desc=spec.key, unit="part", disable=None if progress else True):
        started = time.perf_counter()
        with warnings.catch_warnings():  # of what torch's own modules will do without some day
            warnings.filterwarnings("ignore", category=FutureWarning, module="torch")
            try:
                new = spec.study.compute(spec.parameters, part)
            except DataError as error:
                if not spec.study.partial:
                    raise
                tqdm.write(printable(f"{spec.key}, {part}: left out: {error}"), file=sys.stderr)
                continue
        new.insert(0, "part", part)
        about["seconds"][part] = round(time.perf_counter() - started, 2)
        about["computed_by"] = _machine()
        rows = new.to_csv(index=False, float_format="%.10g").encode()
        if content and content.partition(b"\n")[0] != rows.partition(b"\n")[0]:
            raise ValueError(f"part {part} has other columns than those before it: {list(new.columns)}")
        content += rows.partition(b"\n")[2] if content else rows
        _write(directory, content, about)
    return _numbers(content) if content else None


def stored(folder: Path, spec: Spec) -> pd.DataFrame | None:
    """The numbers of a study of which no part is missing, or of one that is `partial`; None where there are none."""
    _, content = _kept(folder, spec)
    return _numbers(content) if content and (spec.study.partial or not missing(folder, spec)) else None


def progress(folder: Path, spec: Spec) -> tuple[int, int]:
    """How many parts of a study have been computed, and how many it has."""
    parts = set(spec.study.parts(spec.parameters))
    return len(parts & set(_kept(folder, spec)[0]["seconds"])), len(parts)


def refused(folder: Path, spec: Spec) -> str:
    """Why the numbers that lie there are not used; empty where they are, and where there are none."""
    return _read(place(folder, spec), spec)[2]


def _numbers(content: bytes) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(io.BytesIO(content), dtype={"part": str})


def _kept(folder: Path, spec: Spec) -> tuple[dict[str, Any], bytes]:
    """What is there of these very parameters: about.json, and the rows of numbers.csv that it knows."""
    about, content, why = _read(place(folder, spec), spec)
    if why:
        _tell(f"{place(folder, spec)}: {why}")
    return about, content


def _read(directory: Path, spec: Spec) -> tuple[dict[str, Any], bytes, str]:
    """The same, and why what lies there is not used."""
    parameters = plain(dataclasses.asdict(spec.parameters))
    nothing = {"parameters": parameters, "seconds": {}}
    if not (directory / "about.json").exists() and not (directory / "numbers.csv").exists():
        return nothing, b"", ""
    try:
        about = json.loads(read_bounded(directory / "about.json", MOST_JSON))
        content = read_bounded(directory / "numbers.csv", MOST_BYTES)[: about["bytes"]]
        if about["sha256"] != hashlib.sha256(content).hexdigest() or not isinstance(about["seconds"], dict):
            raise ValueError("numbers.csv has another checksum than about.json says")
        theirs = about["parameters"]
        other = [name for name in parameters if theirs.get(name) != parameters[name]]
        other += [name for name in theirs if name not in parameters]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = "about.json is damaged" if isinstance(error, (KeyError, TypeError, AttributeError)) else error
        why = f"damaged, so its numbers are not used: {what}. Put the two files back as they were, or"
        return nothing, b"", f"{why} compute them anew."
    if other:
        why = f"its numbers are not used, as they are of other parameters: {', '.join(other)}"
        return nothing, b"", why
    return about, content, ""


@functools.cache
def _tell(message: str) -> None:
    """Once, whoever asks again."""
    print(printable(message), file=sys.stderr)


def _write(directory: Path, content: bytes, about: dict[str, Any]) -> None:
    """Rows are only ever added: after a kill between the two files, those that about.json does not know are dropped."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(directory, error) from None
    write_atomic(directory / "numbers.csv", content)
    kept = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    write_json(directory / "about.json", about | kept)


def _machine() -> dict[str, str]:
    import platform

    import numpy as np
    import torch

    return {
        "mixbench": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
