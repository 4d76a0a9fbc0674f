"""Standard output and error of a process that outlives its terminal, and whoever reads what it prints."""

from __future__ import annotations

import errno
import io
import os
import re
import select
import sys
from pathlib import Path
from typing import Any, TextIO

from mixbench.errors import output_error

# Of a pipe, such as head, or a terminal: what it wanted to see, it saw.
READER_GONE = (
    errno.EPIPE,
    errno.EIO,
)


# What moves the cursor or hides and turns text: controls but for tab and newline, marks of direction; half characters.
UNPRINTABLE = re.compile(
    r"[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """The text of a record, or of any file, as a terminal may get it: what is no character to see, as \\xNN."""
    return UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


class _Lossy(io.FileIO):
    """The bytes of a descriptor; once it has refused some, all that follow are dropped without a word."""

    refused: OSError | None = None

    def write(self, data: Any, /) -> int:
        while self.refused is None:
            try:
                taken = super().write(data)
            except OSError as error:
                self.refused = error
                break
            if taken is not None:
                return taken
            select.select([], [self], [])  # another program has made the terminal non-blocking
        return len(data)


def outlive_reader() -> None:
    """Let nothing that happens to standard output and error, such as `| head` or a full disk, end this process."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed before the process began
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif stream is getattr(sys, f"__{name}__"):  # else it is another's, such as a test's
            setattr(sys, name, _lossy(stream))


def _lossy(stream: Any) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(_Lossy(stream.fileno(), "wb", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering or stream.write_through,  # python -u
    )


def check_printed() -> None:
    """Raise OutputError where standard output has refused what was printed, unless its reader was gone."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, _Lossy) and raw.refused is not None and raw.refused.errno not in READER_GONE:
        raise output_error(Path("standard output"), raw.refused)
