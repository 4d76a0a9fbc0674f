"""The page on this machine's own address, made anew while runs go on: the page, its list of runs, and nothing else."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mixbench.errors import MixbenchError
from mixbench.machine.output import printable
from mixbench.record.read import directories
from mixbench.report.page import page
from mixbench.summarize.frame import frame_of
from mixbench.summarize.settings import collect

ADDRESS = "127.0.0.1"  # nobody else's machine reaches it
LISTED = "runs.csv"
PATHS = ("/", f"/{LISTED}")
REST = 3.0  # seconds for which a page is given again without looking whether there is news


class Pages:
    """The page and the list of the runs in `places`, made anew where one of their files has changed."""

    def __init__(self, places: Sequence[Path]) -> None:
        self._places, self._lock = places, threading.Lock()
        self._seen: tuple[tuple[str, int, int], ...] | None = None
        self._looked = -REST
        self._found: dict[str, tuple[str, bytes]] = {}

    def get(self, path: str) -> tuple[str, bytes] | None:
        """The type and the content of what lies at `path`; None for what is not there."""
        if path not in PATHS:
            return None
        with self._lock:
            if time.monotonic() - self._looked >= REST:
                self._look()
                self._looked = time.monotonic()
            return self._found[path]

    def _look(self) -> None:
        seen = tuple(_files(self._places))
        if seen != self._seen:
            runs = collect(self._places)
            self._found = {
                PATHS[0]: ("text/html; charset=utf-8", printable(page(runs, LISTED, live=True)).encode()),
                PATHS[1]: (
                    "text/csv; charset=utf-8",
                    printable(frame_of(runs, "best_test").to_csv(index=False)).encode(),
                ),
            }
            self._seen = seen


def _files(places: Sequence[Path]) -> list[tuple[str, int, int]]:
    """The records of the runs with the time of their last change and their sizes."""
    found = []
    for place in places:
        for directory in directories(place):
            for name in ("summary.json", "epochs.csv", "env.json"):
                try:
                    stat = os.stat(directory / name)
                except OSError:
                    continue
                found.append((f"{directory}/{name}", stat.st_mtime_ns, stat.st_size))
    return found


def server(places: Sequence[Path], port: int) -> ThreadingHTTPServer:
    """A server of the page of `places` on this machine's own address; port 0 takes any that is free.

    Raises MixbenchError for a port that cannot be had.
    """
    try:
        return Server((ADDRESS, port), handler(Pages(places).get))
    except (OSError, OverflowError) as error:
        raise MixbenchError(
            f"--port {port}: {error}; another one may be free, and 0 takes any that is."
        ) from None


class Server(ThreadingHTTPServer):
    """One thread for each connection: a browser opens some that it does not use."""

    daemon_threads = True


def handler(get: Callable[[str], tuple[str, bytes] | None]) -> type[BaseHTTPRequestHandler]:
    """What answers a request with what `get` has at its path, if it comes from this machine's own browser."""

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "mixbench", ""
        timeout = 30

        def do_GET(self) -> None:
            # A name of somebody else's that leads here would let that page read the runs (DNS rebinding).
            port = self.connection.getsockname()[1]
            names = [f"{name}:{port}" for name in (ADDRESS, "localhost")]
            if self.headers.get_all("Host", []) not in ([name] for name in names):
                self.send_error(403, "Not under this name")
                return
            found = get(self.path)
            if found is None:
                self.send_error(404)
                return
            kind, content = found
            mark = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            known = self.headers.get("If-None-Match") == mark
            self.send_response(304 if known else 200)
            self.send_header("ETag", mark)
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Cross-Origin-Resource-Policy", "same-origin")
            self.send_header("X-Frame-Options", "DENY")
            self.send_header("Referrer-Policy", "no-referrer")
            if not known:
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if not known:
                self.wfile.write(content)

        def log_message(self, *words: object) -> None:
            """Nothing: the terminal is the reader's."""

    return Handler
