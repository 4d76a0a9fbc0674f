"""Tables, from the files of the UCI repository, from OpenML or from scikit-learn, as the arrays that are kept.

`inputs` float64 (N, columns) has the columns as they are: numbers, the place of a category among its values, and NaN
where a value is missing. `labels` int64 (N,). Rows are in ascending order of their numbers, so that the same table is
the same arrays whatever order its source has them in. What is fitted to the training rows is done when it is loaded.
"""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixbench.data.store.cache import Decoded
from mixbench.errors import DataError
from mixbench.inventory.paths import downloads
from mixbench.schema.tables import Part, TableSpec

MISSING = {"?", "", "nan"}


def from_files(spec: TableSpec, source: Path) -> Decoded:
    """The table in the UCI repository's files: in a folder or a zip archive of them, or in its only file.

    Raises DataError for a file that is missing, and for a row that is not of this table, by its line.
    """
    if not spec.parts:
        raise DataError(
            f"{source}: {spec.name} is read from OpenML alone: mixbench data prepare {spec.name}, on a machine with a"
            f" network; its folder {spec.name} may be copied from there."
        )
    cells, labels, odd = list[list[float]](), list[str](), list[str]()
    for part in spec.parts:
        text, place = _text(spec, part, source)
        for where, row in _rows(part, text, place):
            numbers, label = _row(spec, part, row, where)
            cells.append(numbers)
            labels.append(label)
            odd += _odd(spec, row, numbers, where)
    table = np.array(cells).reshape(-1, spec.columns)
    return _decoded(spec, table, labels, str(source), published=False, odd=odd)


def from_openml(spec: TableSpec, root: Path) -> Decoded:
    """The table from openml.org by its number, through scikit-learn, which keeps what it fetches among the downloads.

    Raises DataError where it cannot be had, saying what else there is.
    """
    from urllib.error import URLError

    from sklearn.datasets import fetch_openml

    folder = downloads(root, spec.name)
    try:
        frame, target = fetch_openml(
            data_id=spec.openml, data_home=str(folder), as_frame=True, return_X_y=True, parser="liac-arff",
            n_retries=1, delay=1.0,
        )  # fmt: skip
    except (URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        files = " and ".join(part.file for part in spec.parts)
        own = (
            f"\nOr import the files of the UCI repository, {files}, from a folder or a zip archive:"
            f" mixbench data import {spec.name} PATH"
            if files
            else ""
        )
        raise DataError(
            f"{spec.name} is not on this machine and could not be fetched from OpenML (data set {spec.openml}):"
            f" {reason}\nPrepare it on a machine with a network (mixbench data prepare {spec.name}) and copy the folder"
            f" {root / spec.name} here.{own}"
        ) from error
    columns = []
    for i, name in enumerate(frame.columns):
        texts = [str(value).strip() for value in frame[name]]
        columns.append(
            [_cell(spec, i, text, f"OpenML {spec.openml}, row {n}") for n, text in enumerate(texts, 1)]
        )
    labels = [str(value).strip() for value in target]
    return _decoded(spec, np.array(columns).T, labels, f"OpenML {spec.openml}", published=False)


def shipped(spec: TableSpec) -> Decoded:
    """The irises of scikit-learn."""
    from sklearn.datasets import load_iris

    inputs, labels = load_iris(return_X_y=True)
    return _decoded(spec, inputs, [str(label) for label in labels], "scikit-learn", published=True)


def _decoded(
    spec: TableSpec,
    inputs: NDArray,
    labels: Sequence[str],
    source: str,
    *,
    published: bool,
    odd: Sequence[str] = (),
) -> Decoded:
    places = _places(spec, labels, source)
    order = np.lexsort((*inputs.T[::-1], places))
    arrays = {"inputs": np.ascontiguousarray(inputs[order]), "labels": places[order]}
    return Decoded(arrays, source, published=published, odd=odd)


def _text(spec: TableSpec, part: Part, source: Path) -> tuple[str, str]:
    """What is in a part's file, and where that is."""
    try:
        if source.is_dir():
            return (source / part.file).read_text(), str(source / part.file)
        if source.suffix.lower() == ".zip" or zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                return archive.read(part.file).decode(), f"{source}/{part.file}"
        if len(spec.parts) == 1:
            return source.read_text(), str(source)
    except (OSError, KeyError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{source}: {part.file} of {spec.name} cannot be read ({error}); expected is a folder or a zip archive with"
            f" {' and '.join(p.file for p in spec.parts)}."
        ) from error
    files = " and ".join(p.file for p in spec.parts)
    raise DataError(f"{source}: expected a folder or a zip archive with {files}.")


def _rows(part: Part, text: str, place: str) -> Iterator[tuple[str, list[str]]]:
    """The rows of a file, and where each stands. Comments and the declarations of ARFF are passed over."""
    header = part.header
    for number, row in enumerate(csv.reader(io.StringIO(text), skipinitialspace=True), 1):
        if not row or not "".join(row).strip() or row[0].startswith(("%", "@")):
            continue
        if header:
            header = False
            continue
        yield f"{place}, line {number}", [cell.strip() for cell in row]


def _row(spec: TableSpec, part: Part, row: list[str], where: str) -> tuple[list[float], str]:
    """The numbers of a row, from which its label is taken out, and the label."""
    if len(row) != spec.columns + 1:
        raise DataError(
            f"{where}: {len(row)} values, expected are {spec.columns + 1}, the columns of {spec.name} and the class;"
            " repair or replace the file."
        )
    label = row.pop(part.label)
    return [_cell(spec, i, text, where) for i, text in enumerate(row)], label


def _cell(spec: TableSpec, column: int, text: str, where: str) -> float:
    """The number that is kept of a value."""
    if text.lower() in MISSING:
        return np.nan
    values = spec.categories.get(column)
    try:
        if values is not None:
            return float(values.index(text.removesuffix(".0")))
        number = float(text)
    except ValueError:
        allowed = f"one of {', '.join(values)}" if values is not None else "a number"
        raise DataError(
            f"{where}, column {column + 1}: '{text}' is not {allowed}, nor ? for a missing value; repair or replace the"
            " file."
        ) from None
    if not np.isfinite(number):
        raise DataError(f"{where}, column {column + 1}: '{text}' is not finite; repair or replace the file.")
    return number


def _odd(spec: TableSpec, row: Sequence[str], numbers: Sequence[float], where: str) -> Iterator[str]:
    """The cells of a row that are kept as missing, or as another number than is written, with their places."""
    for i, (text, number) in enumerate(zip(row, numbers, strict=True)):
        if np.isnan(number):
            yield f"{where}, column {i + 1}: '{text}' is kept as a missing value"
        elif i not in spec.categories and (len(text) > 15 or "e" in text.lower()):  # else all digits are kept
            kept = repr(number)
            if _value(text) != Decimal(kept):
                yield f"{where}, column {i + 1}: '{text}' is kept as {kept}"


def _value(text: str) -> Decimal | None:
    """The number that is written, with all of its digits; None for an exponent beyond all that can be computed with."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _places(spec: TableSpec, labels: Sequence[str], source: str) -> NDArray[np.int64]:
    """The class of each row: by the bounds, or the place of its label among all, numbers by their size."""
    try:
        numbers: Any = np.array([float(label) for label in labels])
    except ValueError:
        if spec.bounds:
            raise DataError(f"{source}: the labels of {spec.name} must be numbers.") from None
        numbers = np.array(labels)
    if spec.bounds:
        return np.searchsorted(np.asarray(spec.bounds), numbers, side="left").astype(np.int64)
    found, places = np.unique(numbers, return_inverse=True)
    if len(found) != spec.num_classes:
        raise DataError(
            f"{source}: {len(found)} classes ({', '.join(map(str, found[:10]))} ...), {spec.name} has"
            f" {spec.num_classes}; repair or replace the file."
        )
    return places.astype(np.int64)
