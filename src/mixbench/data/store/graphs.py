"""Sets of graphs on the disk: the files as their authors keep them, with a note of their checksums.

    <data_dir>/<name>/FILE.txt                              see `data.gin_text`
                      FILE/10fold_idx/{train,test}_idx-K.txt
                      meta.json                             the SHA-256 of each, where they come from

The folder is written under another name, read through, and renamed, so that it is complete or not there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mixbench import __version__
from mixbench.data.gin_text import read
from mixbench.data.store.disk import locked, readable_errors
from mixbench.errors import DataError
from mixbench.files import sync
from mixbench.schema.graphs import FOLDS, GraphSpec

MOST_BYTES = 2**27  # of a file; the largest of ours has 1.2 MB


def members(spec: GraphSpec) -> list[str]:
    """The files of a set, below its folder."""
    folds = (f"{part}_idx-{k}.txt" for k in range(1, FOLDS + 1) for part in ("train", "test"))
    return [f"{spec.file}.txt", *(f"{spec.file}/10fold_idx/{name}" for name in folds)]


def import_graphs(spec: GraphSpec, source: Path, root: Path) -> None:
    """Puts a set from a zip file or a folder below `root`, in the place of one that is there.

    Its text lies at the top, or in a folder of its name, or in such a one in `dataset`, as in the zip file of GIN's
    authors; the folds beside it in FILE/10fold_idx or 10fold_idx. Raises DataError for anything else; nothing changes
    then.
    """
    with readable_errors(root), locked(root, spec.name):
        contents = _contents(spec, source)
        folder, new, old = root / spec.name, root / f".{spec.name}.new", root / f".{spec.name}.old"
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            for name, content in contents.items():
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                (new / name).write_bytes(content)
                sync(new / name)
            try:
                read(spec, new)
            except DataError as error:
                raise DataError(str(error).replace(str(new), str(source))) from None
            meta = {
                "name": spec.name,
                "source": str(source),
                "made_by": f"mixbench {__version__}",
                "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
            }
            (new / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")
            sync(new / "meta.json")
            sync(new)
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
            sync(root)
        finally:
            if old.exists() and not folder.exists():
                old.rename(folder)
            for leftover in (new, old):
                shutil.rmtree(leftover, ignore_errors=True)


def _contents(spec: GraphSpec, source: Path) -> Mapping[str, bytes]:
    try:
        top: Any = zipfile.Path(source) if source.is_file() else source
        places = [top, top / spec.file, top / "dataset", top / "dataset" / spec.file]
        at = next((place for place in places if (place / f"{spec.file}.txt").is_file()), None)
        if at is None:
            raise DataError(
                f"{source}: no {spec.file}.txt in it, nor in {spec.file} or dataset/{spec.file}; expected a zip file or"
                " folder with that text and its 10fold_idx."
            )
        beside = "" if (at / spec.file / "10fold_idx").is_dir() else f"{spec.file}/"
        found = dict[str, bytes]()
        for name in members(spec):
            path = at.joinpath(*name.removeprefix(beside).split("/"))
            if not path.is_file():
                raise DataError(
                    f"{path}: is missing; a set has {len(members(spec))} files, with {FOLDS} folds."
                )
            with path.open("rb") as file:
                found[name] = file.read(MOST_BYTES)
        return found
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        zlib.error,
        RuntimeError,
        NotImplementedError,
        EOFError,
    ) as error:
        raise DataError(f"{source}: cannot be read as a zip file ({error}); get it anew.") from error


def verified(root: Path, spec: GraphSpec) -> str | None:
    """In words, that a set is as it was imported; None where it is not there. Raises DataError for a damaged one."""
    folder = root / spec.name
    with readable_errors(root):
        if not folder.exists():
            return None
        known = list(_sums(folder / "meta.json", spec).items())
        for name, expected in known:
            path = folder / name
            found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "none, it is missing"
            if found != expected:
                raise _damaged(path, f"SHA-256 is {found}, expected {expected}", spec)
    published = "the published one" if known[0][1] == spec.sha256 else "another than the one known here"
    return f"complete, as imported; {spec.file}.txt is {published}"


def noted(root: Path, spec: GraphSpec) -> dict[str, str]:
    """The SHA-256 of the text and, together, of the folds of a set, as noted when it was imported; empty where it is
    not there. Raises DataError where the note is unreadable.
    """
    path = root / spec.name / "meta.json"
    if not path.parent.exists():
        return {}
    text, *folds = (_sums(path, spec)[name] for name in members(spec))
    return {spec.file: text, "folds": hashlib.sha256("\n".join(folds).encode()).hexdigest()}


def _sums(path: Path, spec: GraphSpec) -> dict[str, str]:
    """The checksum of each file, from meta.json."""
    try:
        sums = json.loads(path.read_text())["sha256"]
        return {name: str(sums[name]) for name in members(spec)}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise _damaged(path, f"unreadable ({error})", spec) from error


def standing(root: Path, spec: GraphSpec) -> tuple[str, str]:
    """The state of a set in one word, complete, inexact, damaged or missing, and what else there is to say."""
    try:
        found = verified(root, spec)
    except DataError as error:
        return "damaged", str(error)
    if found is None:
        return "missing", f"`mixbench data import {spec.name} PATH`"
    return ("inexact", found) if "another" in found else ("complete", "")


def _damaged(path: Path, what: str, spec: GraphSpec) -> DataError:
    return DataError(
        f"{path}: {what}. Import it anew with `mixbench data import --replace {spec.name} PATH`."
    )
