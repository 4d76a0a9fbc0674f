"""Who works on a run: the file `claim` in its directory, among any number of processes on any number of machines.

The holder of a run is the process whose text is in `claim`. Locks of the kernel (flock) would be simpler, but on
network file systems they are missing, local to each machine, or kept for a machine that is gone.

Taking. A free run is taken by creating the file with O_EXCL, which one process wins, on NFS too. A claim whose
owner is gone is replaced in two steps. First its successor file is taken, by these same rules; its name is made
from the dead claim's text, so it gives the right to replace this claim and no other. Then, if the dead claim is
still in place, the successor is renamed over it. A slow process that still believes in an older death thus finds
another text and withdraws, and a taker that dies half-way leaves a successor that is itself replaced.

Alive or not. On the same machine (host name, boot and process namespace) the kernel says so at once: process
number and start time, so a number that was given out again is no sign of life, and a stopped process is alive. Of
other machines only signs of life count: the owner touches its file every BEAT seconds, and a claim is dead when the
observer has looked once in POLL seconds for SILENCE seconds and seen no change. To take a run, no two clocks are ever
compared, so it does not matter what they show. The file is opened for each look, which makes NFS ask the server. Only
`holder`, which tells how runs stand and gives no right to any, goes by the clock: nobody waits a minute for a list, and
a machine that has died, or has been started again, would otherwise be seen to train for ever.

Losing. An owner that was suspended, or cut off from the disk, for longer than SILENCE may find its run taken over.
`Claim.check` tells it just before each rename of a file that it has written, and it ends without touching the run. If
it is suspended between that check and the rename, one file still comes late: a whole one, and a true one, as every
state of a run follows from its config, so at worst the new owner's last steps are done again. Releasing has the same
gap, with the same harm.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from mixbench.errors import MixbenchError, OutputError, output_error
from mixbench.files import opened_regular
from mixbench.record.checksum import MOST_BYTES

log = logging.getLogger(__name__)

CLAIM = "claim"
# In seconds. Six beats may be missed: by a long call that keeps Python's threads waiting, or by a slow server.
BEAT, SILENCE, POLL = 10.0, 60.0, 1.0
GONE = 300.0  # without a beat, by the observer's clock, which may differ by minutes from that of the disk


class RunBusy(MixbenchError):
    """Another process works on this run."""

    exit_status = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, try later


class ClaimLost(MixbenchError):
    """Another process has taken this run over while this one was silent."""

    exit_status = RunBusy.exit_status


class NoClaim(MixbenchError):
    """What lies in the place of a claim is none."""

    exit_status = OutputError.exit_status


@dataclass(frozen=True)
class Holder:
    """The process that a claim names. `machine` is empty where the process table cannot be read."""

    host: str
    pid: int
    since: str  # its own clock's time, for people
    machine: str
    started: int  # clock ticks from the machine's boot to the start of the process
    token: str  # makes every claim different from every other

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}" if self.pid else "another process"


class _Seen(NamedTuple):
    text: bytes
    touched: int  # ns on the clock of whoever touched it: compared with itself only


# ---------------------------------------------------------------- holding


@dataclass(frozen=True)
class Claim:
    """That this process holds the run in `directory`; made by `claimed`, and good while its block runs."""

    directory: Path
    text: bytes  # of the claim file, different from every other claim's

    def check(self) -> None:
        """Raise ClaimLost when this process does not hold the run any more."""
        try:
            if _is(self.directory / CLAIM, self.text):
                return
            seen = _look(self.directory / CLAIM)
        except OSError as error:
            raise output_error(self.directory, error) from None
        what = f"{_parse(seen.text)} has taken the run over" if seen else "the claim on the run is gone"
        raise ClaimLost(
            f"{self.directory}: {what}, while this process was suspended or cut off from the disk.\n"
            "It ends here and leaves the run's files as they are; the same command goes on once the run is free."
        )


@contextmanager
def claimed(directory: Path, patience: float = 0.0) -> Iterator[Claim]:
    """Hold the run for this process until the block ends; creates its directory.

    Waits up to SILENCE seconds to see whether an owner on another machine is alive, and `patience` seconds for a
    live one to end. Raises RunBusy naming the owner, OutputError where the directory cannot be written, NoClaim.
    """
    path, text = directory / CLAIM, json.dumps(asdict(_myself())).encode()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = _take_patiently(path, text, patience)
    except OSError as error:
        raise output_error(directory, error) from None
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(handle, ended), name="claim", daemon=True)
    beating.start()
    try:
        yield Claim(directory, text)
    finally:
        ended.set()
        beating.join()
        os.close(handle)
        # A disk that has become read-only: the claim dies with the process.
        with contextlib.suppress(OSError, NoClaim):
            if _is(path, text):
                path.unlink()


def holder(directory: Path) -> Holder | None:
    """Who works on the run, without waiting: None where nobody does, or where the owner is known to be dead.

    An owner on another machine, or on this one before it was started again, counts as alive for GONE seconds after its
    last sign of life.
    """
    path = directory / CLAIM
    try:
        seen = _look(path)
    except NoClaim:
        return None
    except OSError:  # not for us to read; when it was touched last shows all the same
        with contextlib.suppress(OSError):
            return _parse(b"") if time.time() - path.lstat().st_mtime < GONE else None
        return None
    if seen is None:
        return None
    found = _parse(seen.text)
    alive = _alive(found)
    if alive is None:
        alive = time.time() - seen.touched / 1e9 < GONE
    return found if alive else None


# ---------------------------------------------------------------- taking


def _take_patiently(path: Path, text: bytes, patience: float) -> int:
    deadline = time.monotonic() + patience
    while True:
        try:
            return _take(path, text)
        except RunBusy:
            if time.monotonic() >= deadline:
                raise
        time.sleep(POLL)


def _take(path: Path, text: bytes) -> int:
    """Make `text` the content of the claim file `path` and return the open file. Raises RunBusy, OSError."""
    while True:
        with contextlib.suppress(FileExistsError):
            return _create(path, text)
        seen = _look(path)
        if seen is None:
            continue
        _outlive(path, seen)
        successor = path.with_name(f"{path.name}.{hashlib.sha256(seen.text).hexdigest()[:8]}")
        handle = _take(successor, text)
        if _is(path, seen.text):
            with contextlib.suppress(FileNotFoundError):  # the successor was taken from us in turn
                os.replace(successor, path)
                return handle
        os.close(handle)
        successor.unlink(missing_ok=True)


def _create(path: Path, text: bytes) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.write(handle, text)
        os.fsync(handle)
    except BaseException:
        os.close(handle)
        path.unlink(missing_ok=True)
        raise
    return handle


def _outlive(path: Path, seen: _Seen) -> None:
    """Return once the owner of the claim `seen` is gone, or its claim. Raises RunBusy when it is alive."""
    owner = _parse(seen.text)
    busy = RunBusy(
        f"{path.parent} is being trained by {owner}.\n"
        "Wait for it, or change the config (another seed is another run)."
    )
    # Looks are counted, not time: while the observer is suspended itself, time passes but it sees nothing.
    for look in range(round(SILENCE / POLL)):
        alive = _alive(owner)
        if alive:
            raise busy
        if alive is False:
            return
        if look == round(2 * BEAT / POLL):
            log.warning(
                "%s: no sign of life from %s; taking over after %.0f s of silence",
                path.parent,
                owner,
                SILENCE,
            )
        time.sleep(POLL)
        now = _look(path)
        if now is None or now.text != seen.text:
            return
        if now.touched != seen.touched:
            raise busy


def _beat(handle: int, ended: threading.Event) -> None:
    # Touched through the open file: once the run is taken over, this is no longer the file that others look at.
    while not ended.wait(BEAT):
        # `Claim.check` is what stops the training, not a server that stumbles.
        with contextlib.suppress(OSError):
            os.utime(handle)


# ---------------------------------------------------------------- looking


def _look(path: Path) -> _Seen | None:
    """What is there; None where nothing is. Raises NoClaim for what nobody can have claimed a run with, or OSError."""
    try:
        with open(opened_regular(path, MOST_BYTES, follow=False), "rb") as file:
            return _Seen(file.read(4096), os.fstat(file.fileno()).st_mtime_ns)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE):  # stale: another machine deleted it under our eyes
            return None
        # Folder, link, pipe, socket.
        if error.errno in (
            errno.EISDIR,
            errno.ELOOP,
            errno.EINVAL,
            errno.ENXIO,
        ):
            raise NoClaim(
                f"{path} is in the way: it is no file, and so no claim of a process. Delete it, and the same command"
                " goes on."
            ) from None
        raise


def _is(path: Path, text: bytes) -> bool:
    seen = _look(path)
    return seen is not None and seen.text == text


def _parse(text: bytes) -> Holder:
    """The holder in a claim's text; one that nothing is known about where the text is not whole."""
    try:
        given = json.loads(text)
        host, since, machine, token = (str(given[key]) for key in ("host", "since", "machine", "token"))
        return Holder(host, int(given["pid"]), since, machine, int(given["started"]), token)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return Holder(host="", pid=0, since="", machine="", started=0, token="")


def _myself() -> Holder:
    return Holder(
        host=socket.gethostname(),
        pid=os.getpid(),
        since=time.strftime("%Y-%m-%d %H:%M:%S"),
        machine=_machine(),
        started=_process(os.getpid())[1] if _machine() else 0,
        token=secrets.token_hex(8),
    )


def _alive(owner: Holder) -> bool | None:
    """Whether the process lives, None where only watching tells: on another machine, or in another container."""
    if not owner.machine or owner.machine != _machine():
        return None
    with contextlib.suppress(OSError):
        state, started = _process(owner.pid)
        return state not in ("Z", "X") and started == owner.started
    try:
        os.kill(owner.pid, 0)  # the process table may hide the processes of other users
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return None


def _process(pid: int) -> tuple[str, int]:
    """State and start time of a process, fields 3 and 22 of /proc/PID/stat (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[19])


@functools.cache
def _machine() -> str:
    """What processes must share for a process number to mean the same to both; empty where /proc does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
