"""What lies in a folder of pictures or in a file of arrays: classes, sizes and a checksum, found without decoding.

Imports nothing heavy until something is looked at, so that a config is checked before torch is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

Found = TypeVar("Found")

_seen: ContextVar[dict[Any, Any] | None] = ContextVar("seen", default=None)


@contextmanager
def looking_once() -> Iterator[None]:
    """Within the block everything is looked at once: a sweep of 100 runs need not look at a million files 100 times."""
    if _seen.get() is not None:
        yield
        return
    token = _seen.set({})
    try:
        yield
    finally:
        _seen.reset(token)


def remembered(key: Any, look: Callable[[], Found]) -> Found:
    """What `look` finds, or has found before in the block `looking_once`."""
    seen = _seen.get()
    if seen is None:
        return look()
    if key not in seen:
        seen[key] = look()
    return seen[key]


def remembered_of(part: Any, what: str, look: Callable[[], Found]) -> Found:
    """The same of one object, such as the options that many cells of a sweep share; nobody changes it meanwhile."""
    return remembered((what, id(part)), lambda: (part, look()))[1]  # kept, so that no other gets its id
