"""The live page: what is served, to whom, and that it follows the runs."""

from __future__ import annotations

import contextlib
import csv
import functools
import http.client
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_records import leave

from mixbench.errors import MixbenchError
from mixbench.papers.cells import plan
from mixbench.papers.library import load
from mixbench.report import serve

COLUMN = "CIFAR-100, WRN-16-4"


@pytest.fixture
def port(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Of a server of outputs/, with one finished run, which looks for news at every request."""
    monkeypatch.setattr(serve, "REST", 0.0)
    finish(0)
    with serve.server([workplace / "outputs"], 0) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield serving.server_address[1]
        serving.shutdown()
        thread.join()


def finish(seed: int) -> None:
    run = plan(load("li2023/table2"), columns=[COLUMN], rows=["SAM"], epochs=2)[seed]
    leave(run, [1.0, 2.0 + seed])


def ask(
    port: int, path: str = "/", method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer, answer.read().decode()


def test_the_page_and_its_list_follow_the_runs(port: int) -> None:
    """By hand: one run, then two; nothing is sent again while nothing has changed."""
    answer, text = ask(port)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "<title>mixbench report: 1 runs</title>" in text
    assert "connect-src 'self'" in text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    mark = answer.headers["ETag"]
    same, nothing = ask(port, **{"If-None-Match": mark})
    assert (same.status, nothing) == (304, "")
    finish(1)
    answer, text = ask(port, **{"If-None-Match": mark})
    assert answer.status == 200
    assert "2 runs" in text
    _, listed = ask(port, "/runs.csv")
    assert [row["seed"] for row in csv.DictReader(io.StringIO(listed))] == ["0", "1"]


@pytest.mark.parametrize(
    "path",
    [
        "/outputs",
        "/report.html",
        "/../../../etc/passwd",
        "/runs.csv/..",
        "/%2e%2e/",
        "/?x",
        "/index.html",
        "*",
    ],
)
def test_nothing_else_is_there(port: int, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other path, spelled however: 404, and nothing is made for it."""
    monkeypatch.setattr(serve, "page", None)
    assert ask(port, path)[0].status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"])
def test_only_reading_is_answered(port: int, method: str) -> None:
    """501: not implemented."""
    assert ask(port, method=method)[0].status == 501


@pytest.mark.fault("hostile")
def test_a_page_under_another_name_is_refused(port: int) -> None:
    """DNS rebinding: a foreign name that leads to this machine gets nothing of the runs."""
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1.evil.example:{port}", ""):
        answer, text = ask(port, Host=host)
        assert answer.status == 403, host
        assert "SAM" not in text
    assert ask(port, Host=f"localhost:{port}")[0].status == 200


def test_only_this_machine_is_bound(workplace: Path) -> None:
    """The loopback address alone; a port that is taken is named."""
    with serve.server([workplace], 0) as serving:
        assert serving.server_address[0] == "127.0.0.1"
        with pytest.raises(MixbenchError, match=f"--port {serving.server_address[1]}: .*another one"):
            serve.server([workplace], serving.server_address[1])
    with pytest.raises(MixbenchError, match="--port 70000"):
        serve.server([workplace], 70000)


@pytest.mark.slow
def test_ctrl_c_ends_it(workplace: Path) -> None:
    """A process: it says where the page is, and ends at once with status 0. Tests that run in the background of a shell
    would hand on that Ctrl-C is ignored.
    """
    import signal
    import subprocess
    import sys

    finish(0)
    command = [sys.executable, "-m", "mixbench", "report", "--serve", "--port", "0"]
    heeded = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=heeded) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("http://127.0.0.1:")
            assert ask(int(line.split(":")[2].split("/")[0]), "/nothing")[0].status == 404
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
            assert process.stdout.read() == "stopped\n"
        finally:
            process.kill()
