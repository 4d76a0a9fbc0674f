"""The official archives: found in the downloads folder, or fetched from mirrors and the official host.

torchvision's classes name the files, their addresses and their checksums, and decode them (see
official.py). Only the transfer is ours: theirs has no time-out, knows one address, starts over after a
break and writes under the final name, and the host of the CIFAR archives can take an hour.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import queue
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mixbench import __version__
from mixbench.errors import DataError
from mixbench.inventory.paths import downloads
from mixbench.schema.specs import Archive, DataSpec
from mixbench.schema.speech import SPEECH

log = logging.getLogger(__name__)

TIMEOUT = 10.0  # seconds without a byte, in connecting and in reading
PAUSES = (0.0, 1.0, 3.0)  # seconds before each round over the addresses; a dead network shows within 40 s
SLOWEST, PATIENCE = 1000.0, 30.0  # bytes a second over so many seconds; a server that drips less is given up
_CHUNK = 1 << 20


class _TransferError(Exception):
    """Why one address did not deliver; the next one is tried."""


def addresses(spec: DataSpec, archive: Archive, mirrors: Sequence[str] = ()) -> list[str]:
    """Where to fetch `archive`: `mirrors`, then the environment's MIXBENCH_MIRRORS, then the official host.

    A mirror is the address of a folder that holds the archive under its official name; "{name}" in it
    stands for the name of the data set. MIXBENCH_MIRRORS separates addresses by spaces or commas.
    """
    bases = [*mirrors, *re.split(r"[\s,]+", os.environ.get("MIXBENCH_MIRRORS", "")), spec.host]
    return [f"{base.replace('{name}', spec.name).rstrip('/')}/{archive.file}" for base in bases if base]


def shown(url: str) -> str:
    """An address without the user and password in it, as it may be printed and logged."""
    return re.sub(r"//[^/@\s]*@", "//", url)


def official_archives(spec: DataSpec, root: Path, mirrors: Sequence[str] = ()) -> dict[str, Path]:
    """Paths of the archives of `spec` by file name, all with the right checksum; the missing are fetched.

    Raises DataError naming a file with a wrong checksum, or, if no address delivers, saying which files to
    put where.
    """
    folder = downloads(root, spec.name)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for archive in spec.archives:
        path = paths[archive.file] = folder / archive.file
        if path.exists():
            check_sum(path, archive)
        else:
            _fetch(spec, archive, path, addresses(spec, archive, mirrors))
    return paths


def check_sum(path: Path, archive: Archive) -> None:
    """Raises DataError unless the file has the archive's checksum."""
    found = _checksum(path, archive)
    if found != archive.checksum:
        raise DataError(
            f"{path}: {archive.kind} is {found} ({path.stat().st_size:,} bytes), expected {archive.checksum} "
            f"({archive.bytes:,} bytes). The file is damaged or another one: delete or replace it."
        )


def _checksum(path: Path, archive: Archive) -> str:
    digest = hashlib.sha256() if archive.sha256 else hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _fetch(spec: DataSpec, archive: Archive, path: Path, urls: Sequence[str]) -> None:
    """Fetches `archive` into `path`, which appears only when it is complete and its checksum is right."""
    part = path.with_name(path.name + ".part")
    failures: dict[str, str] = {}
    for pause in PAUSES:
        time.sleep(pause)
        for url in urls:
            try:
                _transfer(url, part, archive)
            except _TransferError as error:
                failures[shown(url)] = str(error)
                continue
            part.replace(path)
            return
    raise DataError(_advice(spec, path.parent, failures))


def _transfer(url: str, part: Path, archive: Archive) -> None:
    """Appends to `part` what an earlier, broken transfer left out of it, then checks its checksum."""
    have = part.stat().st_size if part.exists() else 0
    if have != archive.bytes:
        _receive(url, part, archive, have)
    found = _checksum(part, archive)
    if found != archive.checksum:
        part.unlink()
        raise _TransferError(f"delivered a file with {archive.kind} {found}, expected {archive.checksum}")


def _receive(url: str, part: Path, archive: Archive, have: int) -> None:
    headers = {"User-Agent": f"mixbench/{__version__}"}
    if 0 < have < archive.bytes:
        headers["Range"] = f"bytes={have}-"
    log.info("downloading %s (%.0f of %.0f MB are here)", shown(url), have / 1e6, archive.bytes / 1e6)
    try:
        response = _answer(urllib.request.Request(url, headers=headers))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _TransferError(_reason(error)) from error
    with response:
        resumed = response.status == 206
        start = have if resumed else 0
        length = response.headers.get("Content-Length")
        if length is not None and not re.fullmatch(r"\d{1,18}", length.strip()):
            raise _TransferError(f"says that it has {length[:40]!r} bytes")
        if length is not None and start + int(length) != archive.bytes:
            raise _TransferError(f"offers {start + int(length):,} bytes, expected {archive.bytes:,}")
        bar = tqdm(
            total=archive.bytes, initial=start, unit="B", unit_scale=True, desc=archive.file, disable=None
        )
        looked, had = time.monotonic(), start
        with part.open("ab" if resumed else "wb") as file, bar:
            while start < archive.bytes:
                try:
                    chunk = response.read1(_CHUNK)  # read() would lose what came before a stall
                except (OSError, http.client.HTTPException) as error:
                    raise _TransferError(
                        f"broke off at byte {start:,} of {archive.bytes:,}: {_reason(error)}"
                    ) from error
                if not chunk:
                    raise _TransferError(f"ended at byte {start:,} of {archive.bytes:,}")
                file.write(chunk)
                start += len(chunk)
                bar.update(len(chunk))
                if (passed := time.monotonic() - looked) > PATIENCE:
                    if start - had < SLOWEST * passed:
                        raise _TransferError(
                            f"broke off at byte {start:,} of {archive.bytes:,}: {start - had:,} bytes in {passed:.3g} s"
                        )
                    looked, had = time.monotonic(), start


def _answer(request: urllib.request.Request) -> Any:
    """The response, when its head is here. Raises _TransferError after PATIENCE seconds, whatever drips."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(urllib.request.urlopen(request, timeout=TIMEOUT))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=PATIENCE)
    except queue.Empty:
        raise _TransferError(f"no whole answer in {PATIENCE:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP status {error.code}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    if isinstance(error, TimeoutError):
        return f"nothing came for {TIMEOUT:g} s"
    return str(error) or type(error).__name__


def _advice(spec: DataSpec, folder: Path, failures: dict[str, str]) -> str:
    lines = [f"{spec.name} is not on this machine and could not be downloaded:"]
    lines += [f"  {url}: {why}" for url, why in failures.items()]
    lines.append(f"Put what is missing into {folder} and run the command again:")
    missing = [archive for archive in spec.archives if not (folder / archive.file).exists()]
    lines += [
        f"  {archive.file}  {archive.bytes:,} bytes  {archive.kind} {archive.checksum}" for archive in missing
    ]
    own = (
        "say where a copy lies: dataset.path=PATH"
        if spec.name == SPEECH.name  # which is read where it lies
        else f"import a copy: mixbench data import {spec.name} PATH"
    )
    lines.append(
        "Or name an address that holds them, with dataset.mirrors=[ADDRESS] or the environment variable "
        f"MIXBENCH_MIRRORS, or {own}"
    )
    return "\n".join(lines)
