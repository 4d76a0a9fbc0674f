"""What a plugin raises, in words instead of a traceback."""

from __future__ import annotations

import contextlib
import os
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

from mixbench.errors import ConfigError


@contextlib.contextmanager
def in_words(called: str) -> Iterator[None]:
    """An exception in this block as one ConfigError that begins with `called`, and names the place in the source."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{called}: {error}") from None
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{called}: {told(error)}") from None


def told(error: BaseException) -> str:
    """An exception that a plugin has raised, in words, with the last place in a source that is no library's."""
    frames = traceback.extract_tb(error.__traceback__)
    libraries = tuple(sysconfig.get_paths()[kind] for kind in ("stdlib", "purelib", "platlib"))
    ours = f"{Path(__file__).parents[1]}{os.sep}"
    theirs = [f for f in frames if not f.filename.startswith(("<", ours, *libraries))]
    place = f" ({theirs[-1].filename}, line {theirs[-1].lineno})" if theirs else ""
    return f"{type(error).__name__}: {error}{place}"
