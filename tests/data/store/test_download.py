"""Downloads from a server on this machine that delivers well, badly, or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import official_archives as archives
import pytest

from mixbench.config.compose import compose
from mixbench.data.store import cache, download
from mixbench.data.store.prepare import import_from, prepare
from mixbench.errors import ConfigError, DataError
from mixbench.schema.specs import SPECS, Archive, DataSpec

FILE = "archive.bin"
ZIP = "tiny-imagenet-200.zip"
CONTENT = np.random.default_rng(0).bytes(300_000)


class Server(ThreadingHTTPServer):
    """Serves `content` by name; the first folder of the address says how. Notes every request and its range."""

    def __init__(self, content: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.requests: list[tuple[str, str | None]] = []
        self.closing = threading.Event()

    def address(self, manner: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{manner}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        manner, name = self.path.strip("/").split("/")
        ask = self.headers.get("Range")
        self.server.requests.append((self.path, ask))
        body = self.server.content[name]
        if manner == "absent":
            self.send_error(404)
            return
        if manner == "page":
            body = b"<html>moved</html>"
        if manner == "garbage":
            body = bytes(len(body))
        if manner == "drips_head":
            while not self.server.closing.wait(0.02):
                self.wfile.write(b"H")
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", ask)[1]) if ask and manner != "no_ranges" else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", "abc" if manner == "no_number" else str(len(body) - start))
        self.end_headers()
        if manner == "breaks" and not start:
            self.wfile.write(body[: len(body) // 2])
        elif manner == "short":
            self.wfile.write(body[start : start + 1000])
        elif manner == "stalls":
            self.wfile.write(body[start : start + 1000])
            self.server.closing.wait(20)
        elif manner == "drips":
            for i in range(start, len(body)):
                self.wfile.write(body[i : i + 1])
                if self.server.closing.wait(0.02):
                    break
        elif manner == "slow":
            for i in range(start, len(body), 40_000):
                self.wfile.write(body[i : i + 40_000])
                self.wfile.flush()
                self.server.closing.wait(0.05)
        else:
            self.wfile.write(body[start:])

    def log_message(self, *_: object) -> None:
        pass


def serve(content: dict[str, bytes]) -> Iterator[Server]:
    server = Server(content)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    monkeypatch.setattr(download, "PATIENCE", 0.3)
    monkeypatch.setattr(download, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.delenv("MIXBENCH_MIRRORS", raising=False)
    yield from serve({FILE: CONTENT})


def spec_for(host: str) -> DataSpec:
    archive = Archive(FILE, len(CONTENT), hashlib.md5(CONTENT).hexdigest())
    return DataSpec("made_up", "", "", 2, 1, 1, (1, 1, 1), "", host=host, archives=(archive,))


def fetched(root: Path, spec: DataSpec, mirrors: tuple[str, ...] = ()) -> bytes:
    return download.official_archives(spec, root, mirrors)[FILE].read_bytes()


def test_good_file_arrives_and_is_not_fetched_again(tmp_path: Path, server: Server) -> None:
    spec = spec_for(server.address("good"))
    assert fetched(tmp_path, spec) == CONTENT
    assert fetched(tmp_path, spec) == CONTENT
    assert len(server.requests) == 1
    assert [path.name for path in (tmp_path / "downloads/made_up").iterdir()] == [FILE]


@pytest.mark.fault("data")
def test_broken_transfer_is_continued(tmp_path: Path, server: Server) -> None:
    """The second request asks for the missing half only."""
    assert fetched(tmp_path, spec_for(server.address("breaks"))) == CONTENT
    assert [ask for _, ask in server.requests] == [None, f"bytes={len(CONTENT) // 2}-"]


@pytest.mark.fault("data")
def test_server_without_ranges_starts_over(tmp_path: Path, server: Server) -> None:
    part = tmp_path / "downloads/made_up" / f"{FILE}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    assert fetched(tmp_path, spec_for(server.address("no_ranges"))) == CONTENT
    assert [ask for _, ask in server.requests] == ["bytes=1000-"]


@pytest.mark.fault("data")
def test_wrong_beginning_from_an_earlier_transfer_is_dropped(tmp_path: Path, server: Server) -> None:
    """A part that some other server began with other bytes fails its checksum once, and is then fetched whole."""
    part = tmp_path / "downloads/made_up" / f"{FILE}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    assert fetched(tmp_path, spec_for(server.address("good"))) == CONTENT
    assert [ask for _, ask in server.requests] == ["bytes=1000-", None]


@pytest.mark.fault("data")
@pytest.mark.parametrize(
    ("manner", "reason"),
    [
        ("short", r"ended at byte 3,000 of 300,000"),  # three rounds, each 1,000 bytes further
        ("stalls", r"broke off at byte 3,000 of 300,000: nothing came for 0\.3 s"),
        ("drips", r"broke off at byte \d+ of 300,000: \d+ bytes in 0\.\d+ s"),
        ("drips_head", r"no whole answer in 0\.3 s"),
        ("garbage", r"delivered a file with MD5 [0-9a-f]{32}, expected [0-9a-f]{32}"),
        ("page", r"offers 18 bytes, expected 300,000"),
        ("absent", r"HTTP status 404"),
        ("no_number", r"says that it has 'abc' bytes"),
    ],
)
def test_bad_server_leaves_no_file_and_a_message(
    tmp_path: Path, server: Server, manner: str, reason: str
) -> None:
    """The message names address and reason, and which file to put where, with size and MD5 sum."""
    spec = spec_for(server.address(manner))
    start = time.perf_counter()
    with pytest.raises(DataError) as caught:
        fetched(tmp_path, spec)
    assert time.perf_counter() - start < 5
    folder = tmp_path / "downloads/made_up"
    assert not (folder / FILE).exists()
    message = str(caught.value)
    assert re.search(rf"{server.address(manner)}/{FILE}: {reason}", message), message
    assert str(folder) in message
    assert f"{FILE}  300,000 bytes  MD5 {spec.archives[0].md5}" in message
    assert "mixbench data import made_up PATH" in message


@pytest.mark.fault("data")
def test_mirrors_are_tried_in_order(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """First those of the call, then those of the environment, then the official host."""
    monkeypatch.setenv("MIXBENCH_MIRRORS", f"{server.address('page')}/ {server.address('good')}")
    assert fetched(tmp_path, spec_for("http://127.0.0.1:9"), (server.address("absent"),)) == CONTENT
    assert [path for path, _ in server.requests] == [f"/{m}/{FILE}" for m in ("absent", "page", "good")]


def test_name_of_the_set_in_a_mirror() -> None:
    spec = SPECS["kmnist"]
    first = download.addresses(spec, spec.archives[0], ["https://host/{name}/"])[0]
    assert first == "https://host/kmnist/train-images-idx3-ubyte.gz"


def test_mirror_may_be_a_folder_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / FILE).write_bytes(CONTENT)
    assert fetched(tmp_path, spec_for("http://127.0.0.1:9"), ((tmp_path / "mirror").as_uri(),)) == CONTENT


@pytest.mark.fault("data")
def test_unusable_address_is_one_failure_among_others(tmp_path: Path, server: Server) -> None:
    assert fetched(tmp_path, spec_for(server.address("good")), ("not an address",)) == CONTENT


CHILD = """
import pickle, sys
from pathlib import Path
from mixbench.data.store.prepare import prepare
meta = prepare(pickle.load(open(sys.argv[1], "rb")), Path(sys.argv[2]))
print(meta.files["train_images"]["sha256"])
"""


def start_child(spec: Path, root: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", CHILD, spec, root], stdout=subprocess.PIPE, text=True)


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    """A slow server with a small Tiny-ImageNet zip (decoding it needs no torch), and its pickled specification."""
    origin = tmp_path / "origin"
    origin.mkdir()
    archives.tiny_imagenet(origin / ZIP, ["n01", "n02"], per_class=40)
    labels = np.zeros(80)
    spec = archives.small_spec("tiny_imagenet", origin, {"train_labels": labels, "test_labels": labels})
    for server in serve({ZIP: (origin / ZIP).read_bytes()}):
        path = tmp_path / "spec.pickle"
        path.write_bytes(pickle.dumps(dataclasses.replace(spec, host=server.address("slow"))))
        yield server, path


def test_two_processes_at_once_download_once(tmp_path: Path, tiny: tuple[Server, Path]) -> None:
    """Oracle: the server's list of requests, and a prepared set made from the archive by this process alone."""
    server, path = tiny
    children = [start_child(path, tmp_path / "data") for _ in range(2)]
    outputs = [child.communicate(timeout=60)[0].strip() for child in children]
    alone = import_from(pickle.loads(path.read_bytes()), tmp_path / "origin", tmp_path / "alone")
    assert [child.returncode for child in children] == [0, 0]
    assert outputs == [alone.files["train_images"]["sha256"]] * 2
    assert len(server.requests) == 1


@pytest.mark.fault("data")
def test_killed_download_leaves_nothing_half_and_is_continued(
    tmp_path: Path, tiny: tuple[Server, Path]
) -> None:
    """SIGKILL in the middle of the transfer: no final name, no lock left over; the next process goes on."""
    server, path = tiny
    child = start_child(path, tmp_path / "data")
    part = tmp_path / "data/downloads/tiny_imagenet" / f"{ZIP}.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    have = part.stat().st_size
    spec = pickle.loads(path.read_bytes())
    assert 0 < have < spec.archives[0].bytes
    assert not part.with_suffix("").exists()
    assert not (tmp_path / "data/tiny_imagenet").exists()
    cache.read(tmp_path / "data", prepare(spec, tmp_path / "data"))
    assert server.requests == [(f"/slow/{ZIP}", None), (f"/slow/{ZIP}", f"bytes={have}-")]


def test_a_password_is_neither_printed_nor_recorded(tmp_path: Path) -> None:
    """In an address of dataset.mirrors it is refused, as the record would hold it; messages leave it out."""
    secret = "http://me:secret@localhost:9/folder"
    with pytest.raises(ConfigError, match=r"dataset\.mirrors: an address with a password"):
        compose(["dataset=cifar10", f"dataset.mirrors=['{secret}']"])
    assert download.shown(f"{secret}/x.tar") == "http://localhost:9/folder/x.tar"
    assert download.shown("https://host/a@b") == "https://host/a@b"
