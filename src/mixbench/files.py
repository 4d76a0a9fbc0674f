"""Files that are always whole: written beside their place, flushed to the disk, then renamed over it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mixbench.errors import ConfigError, output_error


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path, with the home folder for a ~ in front. Raises ConfigError for that of a user who is not there."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(f"{path}: {Path(path).parts[0]} is nobody's home folder on this machine.") from None


def opened_regular(path: Path, most: int, *, follow: bool = True) -> int:
    """A descriptor of the regular file `path` of at most `most` bytes; of a link to one only with `follow`.

    Raises OSError, for anything else too: a pipe or a device would be waited for, or never end.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
    about = os.fstat(handle)
    if stat.S_ISREG(about.st_mode) and about.st_size <= most:
        return handle
    os.close(handle)
    if stat.S_ISREG(about.st_mode):
        raise _too_large(path, most)
    if stat.S_ISDIR(about.st_mode):
        raise OSError(errno.EISDIR, "it is a folder", str(path))
    raise OSError(errno.EINVAL, "it is no regular file", str(path))


def _too_large(path: Path, most: int) -> OSError:
    return OSError(errno.EFBIG, f"it is larger than {most / 2**20:g} MiB", str(path))


def read_bounded(path: Path, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes. Raises OSError; of a larger one nothing is kept."""
    handle = opened_regular(path, most)
    try:
        at_once, left, parts = min(os.fstat(handle).st_size + 1, 1 << 24), most + 1, list[bytes]()
        while left > 0 and (part := os.read(handle, min(at_once, left))):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(handle)
    if left <= 0:
        raise _too_large(path, most)  # it has grown
    return b"".join(parts)


def writable(folder: Path) -> None:
    """Make the folder, if there is none, and a file in it, which is taken away. Raises OutputError where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0" * 4096)
            file.flush()
    except OSError as error:
        raise output_error(folder, error) from None


def write_atomic(path: Path, data: bytes, before_rename: Callable[[], None] | None = None) -> None:
    """Replace `path` by `data`, so that a reader or a crash sees the old file or the new one, nothing between.

    `before_rename` is called when all that takes time has been done, and may refuse by an exception of its own.
    Raises OutputError when the file cannot be written; the old file is then still in place.
    """
    if path.is_dir():
        raise output_error(path, IsADirectoryError(errno.EISDIR, "it is a folder, not a file"))
    # Random, not the process number: on a shared disk two machines may have the same.
    temporary = path.with_name(f".{path.name}.{secrets.randbits(64)}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if before_rename is not None:
            before_rename()
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        raise output_error(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def append(path: Path, data: bytes, inode: int, size: int, before_writing: Callable[[], None]) -> bool:
    """Write `data` behind the `size` bytes of the file with this inode number; False where `path` is another file.

    `before_writing` may refuse by an exception of its own. Raises OutputError when the file cannot be written; it is
    then as it was.
    """
    try:
        handle = os.open(path, os.O_WRONLY)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise output_error(path, error) from None
    try:
        found = os.fstat(handle)
        if (found.st_ino, found.st_size) != (inode, size):
            return False
        before_writing()
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(handle, data[written:], size + written)
            os.fsync(handle)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, size)
            raise output_error(path, error) from None
        return True
    finally:
        os.close(handle)


def remove_leftovers(directory: Path) -> None:
    """Delete what killed writers left beside their files; nobody may be writing into `directory` meanwhile."""
    for path in directory.iterdir():
        if re.fullmatch(r"\..+\.\d+", path.name):
            path.unlink(missing_ok=True)


def write_json(path: Path, content: Any, before_rename: Callable[[], None] | None = None) -> None:
    """`content` as indented JSON, atomically. NaN is written as null, which every JSON reader accepts."""
    write_atomic(path, (json.dumps(plain(content), indent=2) + "\n").encode(), before_rename)


def plain(content: Any) -> Any:
    """`content` as JSON gives it back: lists for tuples, None for NaN."""
    if isinstance(content, dict):
        return {key: plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [plain(value) for value in content]
    return None if isinstance(content, float) and content != content else content


def sync(path: Path) -> None:
    """Return once the file or folder `path` is on the disk; a folder's renames then last through a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
