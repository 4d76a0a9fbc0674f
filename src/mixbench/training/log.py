"""What a run says while it trains: above the progress bars, and in its train.log."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from mixbench.errors import output_error
from mixbench.machine.output import printable

log = logging.getLogger("mixbench")


class _Printable(logging.Formatter):
    """Lines as a terminal may get them, also from the file, whatever record or error they quote."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _TqdmHandler(logging.Handler):
    """Prints above the progress bars instead of through them."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record))


class _LogFile(logging.FileHandler):
    """train.log. Where the disk is full, the error to report is that of the run's next checkpoint or row."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Lose the line."""

    def close(self) -> None:
        """Close the file, whether its last lines could be written or not."""
        with contextlib.suppress(OSError):
            super().close()


@contextlib.contextmanager
def logging_to(directory: Path) -> Iterator[None]:
    """Send mixbench's log to standard output and to the run's train.log. Raises OutputError."""
    try:
        handlers = [_TqdmHandler(), _LogFile(directory / "train.log")]
    except OSError as error:
        raise output_error(directory / "train.log", error) from None
    log.setLevel(logging.INFO)
    propagate, log.propagate = log.propagate, False
    for handler in handlers:
        handler.setFormatter(_Printable())
        log.addHandler(handler)
    try:
        yield
    finally:
        log.propagate = propagate
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()
