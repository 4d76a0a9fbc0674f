"""The command that the user has given: every process that works for it names it where it says what has stopped it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

VARIABLE = "MIXBENCH_COMMAND"  # every launcher hands the environment on


@contextlib.contextmanager
def given(command: str) -> Iterator[None]:
    """What is said inside the block, here and in processes started there, is said by this command, such as "table",
    unless this process works for another one.
    """
    if VARIABLE in os.environ:
        yield
        return
    os.environ[VARIABLE] = command
    try:
        yield
    finally:
        del os.environ[VARIABLE]


def saying(message: object, command: str = "train") -> str:
    """The message behind the name of the command that was given, or of this one where none was, as in Python."""
    return f"mixbench {os.environ.get(VARIABLE, command)}: {message}"
