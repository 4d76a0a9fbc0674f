"""Speech Commands v0.01: 16-bit clips from the official archive, or from the folder where it is unpacked."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import tarfile
import wave
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mixbench.data.splits import Split, Splits
from mixbench.data.store.disk import locked, readable_errors
from mixbench.data.store.download import check_sum, official_archives
from mixbench.errors import DataError
from mixbench.files import expanded
from mixbench.inventory.folder import SHOWN
from mixbench.inventory.paths import data_dir as resolve_data_dir
from mixbench.schema.speech import BACKGROUND, HELD_OUT, LISTS, RATE, SPEECH, SpeechCommands

DataDir = str | os.PathLike[str] | None


@dataclass
class Clips:
    """N clips of at most a second, int16 (length,) each, at 16 kHz."""

    waves: list[NDArray[np.int16]]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.waves), *SPEECH.shape)


def load_speech(options: SpeechCommands, data_dir: DataDir) -> Splits:
    """The clips, in their three parts, in the order of words and names; `content` is a SHA-256 of all names and bytes.

    Raises DataError for an archive that is not the official one, for lists that name no clip, and for every clip that
    cannot be read. The note says where clips are missing.
    """
    root = _root(options, data_dir)
    lists, clips, digest, bad = (
        dict[str, str](),
        dict[str, NDArray[np.int16]](),
        hashlib.sha256(),
        list[str](),
    )
    read = _from_folder(root) if root.is_dir() else _from_archive(root)
    for name, data in sorted(
        tqdm(read, desc="reading clips", unit=" files", delay=1, leave=False, disable=None)
    ):
        if name in LISTS.values():
            lists[name] = data.decode("utf-8", "replace")
        elif name.endswith(".wav"):
            digest.update(f"{name}\0".encode("utf-8", "surrogateescape") + hashlib.sha256(data).digest())
            clip = _decoded(data)
            if isinstance(clip, str):
                bad.append(f"{name}: {clip}")
            else:
                clips[name] = clip
    if bad:
        more = f"\n  and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        lines = "".join(f"\n  {line}" for line in bad[:SHOWN])
        raise DataError(
            f"{root}: {len(bad)} clip{'s' * (len(bad) > 1)} cannot be read:{lines}{more}\nGet the archive again, or"
            " unpack it again; nothing is trained on the others alone."
        )
    parts = {key: _listed(root, name, lists, clips) for key, name in LISTS.items()}
    parts["train"] = sorted(set(clips) - set(parts["test"]) - set(parts["val"]))
    words = sorted({name.partition("/")[0] for name in clips})
    if len(words) != SPEECH.num_classes:
        raise DataError(
            f"{root}: has clips of {len(words)} words; Speech Commands v0.01 has {SPEECH.num_classes}."
        )
    positions = {word: k for k, word in enumerate(words)}

    def split(names: list[str]) -> Split:
        labels = np.array([positions[name.partition("/")[0]] for name in names], np.int64)
        return Split(Clips([clips[name] for name in names]), labels)  # type: ignore[arg-type]  # until `transformed`

    sizes = {"train": SPEECH.train_size - HELD_OUT, "val": HELD_OUT, "test": SPEECH.test_size}
    odd = [
        f"{len(parts[key]):,} of {size:,} {key} clips"
        for key, size in sizes.items()
        if len(parts[key]) != size
    ]
    note = f"not the whole set: {', '.join(odd)}" if odd else ""
    if empty := [key for key in sizes if not parts[key]]:
        raise DataError(f"{root}: has no {empty[0]} clips.")
    return Splits(
        dataclasses.replace(SPEECH, classes=tuple(words)),
        split(parts["train"]),
        split(parts["val"]),
        split(parts["test"]),
        note,
        sha256={"content": digest.hexdigest(), **listing(options, data_dir)},
    )


def listing(options: SpeechCommands, data_dir: DataDir) -> dict[str, str]:
    """Under `files` a SHA-256 of the names and sizes of a folder's lists and clips, which is told without reading them.

    Empty for the archive, of which there is one, and where nothing lies.
    """
    root = expanded(options.path).absolute() if options.path else None
    if root is None or not root.is_dir():
        return {}
    files = [root / name for name in LISTS.values()]
    files += [path for path in root.glob("[!._]*/[!.]*.wav") if path.parent.name != BACKGROUND]
    sizes = (f"{path.relative_to(root)}\0{path.stat().st_size}" for path in sorted(files) if path.is_file())
    return {"files": hashlib.sha256("\n".join(sizes).encode("utf-8", "surrogateescape")).hexdigest()}


def _root(options: SpeechCommands, data_dir: DataDir) -> Path:
    """The folder, or the archive, whose checksum is right; it is downloaded where no path is given."""
    if not options.path:
        folder = resolve_data_dir(data_dir)
        with readable_errors(folder), locked(folder, SPEECH.name):
            return official_archives(SPEECH, folder, options.mirrors)[SPEECH.archives[0].file]
    root = expanded(options.path).absolute()
    if not root.exists():
        raise DataError(f"dataset.path={root}: no such folder or archive.")
    if root.is_file():
        check_sum(root, SPEECH.archives[0])
    return root


def _from_folder(root: Path) -> Iterator[tuple[str, bytes]]:
    """Names below the folder and bytes of lists and clips."""
    try:
        for name in LISTS.values():
            if (root / name).is_file():
                yield name, (root / name).read_bytes()
        for word in sorted(path for path in root.iterdir() if path.is_dir() and path.name != BACKGROUND):
            if not word.name.startswith("."):
                yield from (
                    (f"{word.name}/{path.name}", path.read_bytes()) for path in sorted(word.glob("[!.]*.wav"))
                )
    except OSError as error:
        raise DataError(f"{error.filename or root}: {error.strerror or error}.") from None


def _from_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    """The same of the archive."""
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if member.isfile() and not name.startswith((BACKGROUND, ".", "_")):
                    content = archive.extractfile(member)
                    assert content is not None  # it is a file
                    yield name, content.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged ({type(error).__name__}: {error}).") from None


def _decoded(data: bytes) -> NDArray[np.int16] | str:
    """The samples of a clip, at most a second of them; or what is wrong with it."""
    try:
        with wave.open(io.BytesIO(data)) as clip:
            form = clip.getnchannels(), 8 * clip.getsampwidth(), clip.getframerate()
            promised, samples = clip.getnframes(), clip.readframes(clip.getnframes())
    except (wave.Error, EOFError) as error:
        return f"is no wav file ({error or 'it is cut off'})" if data else "is empty"
    if form != (1, 16, RATE):
        return f"has {form[0]} channels of {form[1]} bits at {form[2]} Hz, expected 1 of 16 bits at {RATE} Hz"
    if len(samples) != 2 * promised:
        return f"is cut off: {len(samples) // 2} of {promised} samples"
    if promised <= RATE // 100:
        return f"has only {promised} samples"
    return np.frombuffer(samples, "<i2")[:RATE].astype(np.int16)


def _listed(root: Path, name: str, lists: dict[str, str], clips: dict[str, NDArray[np.int16]]) -> list[str]:
    """The clips that a published list names, in the order of their names."""
    if name not in lists:
        raise DataError(f"{root}: has no {name}, which says what is held out.")
    names = sorted(set(lists[name].split()))
    unknown = [listed for listed in names if listed not in clips]
    if unknown:
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        raise DataError(f"{root}: {name} lists clips that are not there: {', '.join(unknown[:SHOWN])}{more}.")
    return names
