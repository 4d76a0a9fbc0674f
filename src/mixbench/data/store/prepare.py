"""From any source to the prepared form: under the set's lock, in a scratch folder, checked, then renamed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mixbench.data.store import cache, official, packed, tables
from mixbench.data.store.disk import locked, readable_errors
from mixbench.data.store.download import check_sum, official_archives
from mixbench.errors import DataError
from mixbench.schema.specs import DataSpec
from mixbench.schema.tables import TableSpec


def prepare(spec: DataSpec, root: Path, mirrors: Sequence[str] = (), *, replace: bool = False) -> cache.Meta:
    """Prepares `spec` below `root` from its official archives, downloading those that are not there.

    A set that is already prepared is left alone unless `replace`. Raises DataError.
    """

    def decode(scratch: Path) -> cache.Decoded:
        if isinstance(spec, TableSpec):
            return tables.shipped(spec) if spec.embedded else tables.from_openml(spec, root)
        if spec.embedded:
            return official.digits(spec)
        return official.decode(spec, official_archives(spec, root, mirrors), scratch)

    return _make(spec, root, decode, replace)


def import_from(spec: DataSpec, source: Path, root: Path, *, replace: bool = False) -> cache.Meta:
    """Prepares `spec` below `root` from what people have: an official archive or a folder of them, a folder that
    torchvision has unpacked, a folder of packed files, or an .npz file.

    A set that is already prepared is left alone unless `replace`. Raises DataError if `source` is none of these.
    """

    def decode(scratch: Path) -> cache.Decoded:
        if isinstance(spec, TableSpec):
            return tables.from_files(spec, source)
        if source.is_file() and source.suffix == ".npz":
            return packed.decode_npz(spec, source)
        files = {archive.file: source / archive.file for archive in spec.archives}
        if source.is_file() and len(spec.archives) == 1:
            files = dict.fromkeys(files, source)
        if files and all(path.is_file() for path in files.values()):
            for archive in spec.archives:
                check_sum(files[archive.file], archive)
            return official.decode(spec, files, scratch)
        if source.is_dir() and packed.holds_packed(spec, source):
            return packed.decode_packed(spec, source)
        if source.is_dir() and (found := official.unpacked(spec, source)) is not None:
            return found
        names = " and ".join(archive.file for archive in spec.archives)
        official_ones = (
            f"{names}, a folder with that, or one where torchvision has unpacked it" if names else ""
        )
        forms = ["an .npz file", "a folder of packed files", *filter(None, [official_ones])]
        raise DataError(f"{source}: expected {', '.join(forms)}.")

    return _make(spec, root, decode, replace)


def _make(spec: DataSpec, root: Path, decode: Callable[[Path], cache.Decoded], replace: bool) -> cache.Meta:
    with readable_errors(root), locked(root, spec.name):
        there = None if replace else cache.read_meta(root, spec.name)
        if there is not None:
            return there
        with _scratch(root, spec.name) as scratch:
            return cache.write(root, spec, decode(scratch))


@contextmanager
def _scratch(root: Path, name: str) -> Iterator[Path]:
    """An empty folder for unpacking, removed at the end; the lock makes its name unique."""
    folder = root / f".{name}.scratch"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
