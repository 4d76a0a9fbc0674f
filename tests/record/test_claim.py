"""Who works on a run: one process at a time, whatever dies, sleeps, or has a wrong clock."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mixbench.errors import OutputError
from mixbench.record import claim
from mixbench.record.claim import CLAIM, ClaimLost, Holder, RunBusy, claimed, holder
from mixbench.record.read import read_rows, read_summary
from mixbench.record.write import OpenRecord
from mixbench.summarize.frame import frame
from mixbench.training import checkpoint

BEAT, SILENCE, POLL = 0.05, 0.6, 0.05

# A process of its own that says `held`, then does what it is told; argv: directory, machine, what to do.
PROCESS = f"""
import sys, time
from pathlib import Path
from mixbench.record import claim
from mixbench.record.write import OpenRecord
claim.BEAT, claim.SILENCE, claim.POLL = {BEAT}, {SILENCE}, {POLL}
directory, machine, work = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
if machine:
    claim._machine = lambda: machine
try:
    with claim.claimed(directory, patience=20) as held:
        record = OpenRecord(directory, "run", held)
        print("held", flush=True)
        exec(work)
except Exception as error:
    print(type(error).__name__, error, flush=True)
    sys.exit(1)
"""
WAIT = "sys.stdin.readline()"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beats and silences a hundredth as long."""
    for name, value in (("BEAT", BEAT), ("SILENCE", SILENCE), ("POLL", POLL)):
        monkeypatch.setattr(claim, name, value)


@pytest.fixture
def process() -> Iterator[Callable[..., subprocess.Popen]]:
    """Start a process that holds a run: `process(directory, machine="", work=WAIT)`."""
    started: list[subprocess.Popen] = []

    def start(directory: Path, machine: str = "", work: str = WAIT) -> subprocess.Popen:
        command = [sys.executable, "-c", PROCESS, str(directory), machine, work]
        one = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(one)
        assert one.stdout is not None
        assert one.stdout.readline() == "held\n"
        return one

    yield start
    for one in started:
        one.kill()
        one.communicate()


def put(directory: Path, **changes) -> claim.Holder:
    """Leave a claim of this very process, with changes."""
    owner = dataclasses.replace(claim._myself(), **changes)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / CLAIM).write_text(json.dumps(dataclasses.asdict(owner)))
    return owner


def take_seconds(directory: Path) -> float:
    """How long it takes to take the run."""
    start = time.monotonic()
    with claimed(directory):
        assert os.listdir(directory) == [CLAIM]
    assert os.listdir(directory) == []
    return time.monotonic() - start


# ---------------------------------------------------------------- one machine


@pytest.mark.fault("claims")
def test_a_claim_is_exclusive_and_dies_with_its_process(tmp_path: Path, process) -> None:
    """Refused with the owner's number; after SIGKILL the run is free at once, also while the owner is a zombie."""
    owner = process(tmp_path)
    with pytest.raises(RunBusy, match=f"process {owner.pid} on .* since 20"), claimed(tmp_path):
        pass
    owner.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the process table
    assert holder(tmp_path) is None
    assert take_seconds(tmp_path) < SILENCE


@pytest.mark.fault("claims")
def test_a_stopped_process_of_this_machine_keeps_its_run(tmp_path: Path, process) -> None:
    """SIGSTOP ends the beats, not the process: the kernel's word counts."""
    owner = process(tmp_path)
    owner.send_signal(signal.SIGSTOP)
    time.sleep(2 * SILENCE)
    with pytest.raises(RunBusy), claimed(tmp_path):
        pass


@pytest.mark.fault("claims")
def test_a_recycled_process_number_is_no_sign_of_life(tmp_path: Path) -> None:
    """The number lives, but its process started at another time than the claim's: free at once."""
    owner = put(tmp_path)
    with pytest.raises(RunBusy), claimed(tmp_path):
        pass
    put(tmp_path, started=owner.started - 1)
    assert holder(tmp_path) is None
    assert take_seconds(tmp_path) < SILENCE


@pytest.mark.fault("claims")
def test_processes_that_the_system_hides_are_not_taken_for_dead(tmp_path: Path, monkeypatch) -> None:
    """Where /proc shows only one's own processes, kill(pid, 0) tells the dead, and watching the others."""

    def hidden(pid: int) -> tuple[str, int]:
        raise FileNotFoundError(pid)

    put(tmp_path)
    monkeypatch.setattr(claim, "_process", hidden)
    assert holder(tmp_path) is not None
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    put_text = json.loads((tmp_path / CLAIM).read_text()) | {"pid": gone.pid}
    (tmp_path / CLAIM).write_text(json.dumps(put_text))
    assert holder(tmp_path) is None


@pytest.mark.fault("claims")
def test_patience_waits_for_the_owner_to_end_or_die(tmp_path: Path, process) -> None:
    """The run is taken when its owner releases it, and when it is killed."""
    for end in (lambda one: one.communicate("\n"), lambda one: one.kill()):
        owner = process(tmp_path)
        threading.Timer(0.3, end, [owner]).start()
        with claimed(tmp_path, patience=20):
            assert owner.wait(10) in (0, -signal.SIGKILL)


# ---------------------------------------------------------------- several machines


@pytest.mark.fault("claims")
@pytest.mark.parametrize("machine", ["another", ""], ids=["another machine", "no process table"])
def test_a_living_owner_elsewhere_is_seen_by_its_beats(tmp_path: Path, process, machine: str) -> None:
    """Refused at its next beat, long before the time of silence is over; dead, it is replaced after that time."""
    if not machine:
        put(tmp_path, machine="")
        with pytest.raises(RunBusy):  # somebody beats
            _while_touching(tmp_path / CLAIM, lambda: take_seconds(tmp_path))
        return
    owner = process(tmp_path, machine)
    for _ in range(5):
        start = time.monotonic()
        with pytest.raises(RunBusy, match=f"process {owner.pid}"), claimed(tmp_path):
            pass
        assert time.monotonic() - start < SILENCE
    owner.kill()
    assert holder(tmp_path) is not None
    assert take_seconds(tmp_path) >= SILENCE


@pytest.mark.fault("claims")
@pytest.mark.parametrize("machine", ["another", f"{socket.gethostname()} another-boot pid:[1]"])
def test_a_machine_that_has_died_does_not_train_for_ever(tmp_path: Path, machine: str) -> None:
    """Limiting cases, a second before and after GONE, of a node and of this machine before it was started again."""
    with claimed(tmp_path) as held:
        OpenRecord(tmp_path, "run", held).write_summary({"state": "running", "config": {}})
    put(tmp_path, machine=machine)
    for age, state in ((claim.GONE - 5, "running"), (claim.GONE + 5, "interrupted")):
        os.utime(tmp_path / CLAIM, (0, time.time() - age))
        assert (holder(tmp_path) is None) == (state == "interrupted")
        assert (read_summary(tmp_path) or {})["state"] == state


def _while_touching(path: Path, action: Callable[[], object], times: Iterator[float] | None = None) -> None:
    ended = threading.Event()

    def touch() -> None:
        while not ended.wait(BEAT):
            os.utime(path, None if times is None else (0, next(times)))

    thread = threading.Thread(target=touch)
    thread.start()
    try:
        action()
    finally:
        ended.set()
        thread.join()


@pytest.mark.fault("claims")
@pytest.mark.parametrize("hours", [-5, 0, 5])
def test_no_clock_is_believed(tmp_path: Path, hours: int) -> None:
    """A machine whose clock is hours off is dead when it is silent, and alive when it beats, also backwards."""
    now = time.time() + hours * 3600
    put(tmp_path, machine="another")
    os.utime(tmp_path / CLAIM, (now, now))
    assert take_seconds(tmp_path) >= SILENCE
    put(tmp_path, machine="another")
    backwards = iter(now - i for i in range(10**6))
    with pytest.raises(RunBusy):
        _while_touching(tmp_path / CLAIM, lambda: take_seconds(tmp_path), backwards)


@pytest.mark.fault("claims")
def test_an_observer_that_is_suspended_itself_does_not_count_that_time(tmp_path: Path, monkeypatch) -> None:
    """Two suspended machines wake up; the observer's clock has jumped by an hour. It still looks as often."""
    put(tmp_path, machine="another")
    looks, jumps = [], iter(range(0, 10**9, 3600))
    look = claim._look
    monkeypatch.setattr(claim, "_look", lambda path: (looks.append(path), look(path))[1])
    monkeypatch.setattr(claim.time, "monotonic", lambda: next(jumps))
    with claimed(tmp_path):
        assert looks.count(tmp_path / CLAIM) > SILENCE / POLL


@pytest.mark.fault("claims")
@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["host", "pid", "started", "machine"]), inner),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_damaged_claims_are_somebodys_until_silence_tells(
    tmp_path_factory: pytest.TempPathFactory, text: bytes
) -> None:
    """Whatever the bytes: never an exception, never taken without watching, always taken after it."""
    directory = tmp_path_factory.mktemp("run")
    (directory / CLAIM).write_bytes(text)
    assert str(holder(directory)) == "another process"
    silence, claim.SILENCE, poll, claim.POLL = claim.SILENCE, 0.002, claim.POLL, 0.001
    try:
        assert take_seconds(directory) >= claim.SILENCE
    finally:
        claim.SILENCE, claim.POLL = silence, poll


# ---------------------------------------------------------------- races

RACER = """
import random, sys, time
from pathlib import Path
from mixbench.record import claim
look = claim._look
claim._look = lambda path: (time.sleep(random.random() * float(sys.argv[1])), look(path))[1]
for line in sys.stdin:
    try:
        with claim.claimed(Path(line.strip())):
            print("won", flush=True)
            sys.stdin.readline()
    except claim.RunBusy:
        print("busy", flush=True)
        sys.stdin.readline()
    print("ready", flush=True)
"""


@pytest.mark.fault("claims")
@pytest.mark.parametrize("jitter", [0.0, 0.003])
def test_of_eight_processes_one_takes_a_dead_claim(tmp_path: Path, jitter: float) -> None:
    """120 rounds of a race for a claim whose owner is dead: one wins, seven are refused, nothing is left behind."""
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(jitter)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]

    def tell(line: str) -> list[str]:
        for racer in racers:
            racer.stdin.write(line + "\n")
            racer.stdin.flush()
        return [racer.stdout.readline().strip() for racer in racers]

    try:
        for number in range(60):
            run = tmp_path / str(number)
            put(run, started=1)
            answers = tell(str(run))
            assert sorted(answers) == ["busy"] * 7 + ["won"]
            assert json.loads((run / CLAIM).read_text())["pid"] == racers[answers.index("won")].pid
            assert os.listdir(run) == [CLAIM]
            assert tell("") == ["ready"] * 8
            assert os.listdir(run) == []
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()


class Turns:
    """Runs threads one file operation at a time, in the order that a list of numbers tells."""

    def __init__(self, order: list[int]) -> None:
        self.order, self.gates = iter(order), {}
        self.changed = threading.Condition()

    def gated(self, operation: Callable) -> Callable:
        def wait_for_turn(*arguments, **keywords):
            me = threading.current_thread()
            if me in self.gates:
                with self.changed:
                    self.gates[me] = "waiting"
                    self.changed.notify_all()
                    self.changed.wait_for(lambda: self.gates[me] == "going")
            return operation(*arguments, **keywords)

        return wait_for_turn

    def run(self, actions: list[Callable[[], None]]) -> None:
        def whole(action: Callable[[], None]) -> None:
            action()
            with self.changed:
                self.gates[threading.current_thread()] = "done"
                self.changed.notify_all()

        threads = [threading.Thread(target=whole, args=(action,)) for action in actions]
        self.gates = dict.fromkeys(threads, "going")
        for thread in threads:
            thread.start()
        while True:
            with self.changed:
                assert self.changed.wait_for(lambda: "going" not in self.gates.values(), timeout=20)
                waiting = [thread for thread in threads if self.gates[thread] == "waiting"]
                if not waiting:
                    break
                self.gates[waiting[next(self.order, 0) % len(waiting)]] = "going"
                self.changed.notify_all()
        for thread in threads:
            thread.join()


@pytest.mark.fault("claims")
@settings(deadline=None, max_examples=150)
@given(st.lists(st.integers(0, 11), max_size=60), st.integers(0, 2))
def test_one_wins_in_any_order_of_file_operations(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], dead_takers: int
) -> None:
    """Three takers of a dead claim, stepped through their file operations in a random order: exactly one wins.

    Also when earlier takers died half-way and left their successor files.
    """
    directory, turns, won, refused = tmp_path_factory.mktemp("run"), Turns(order), [], []
    put(directory, started=1)
    path = directory / CLAIM
    for _ in range(dead_takers):
        name = f"{path.name}.{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
        path = path.with_name(name)
        text = dataclasses.asdict(dataclasses.replace(claim._myself(), started=1))
        path.write_text(json.dumps(text))

    def take(number: int) -> None:
        text = json.dumps(dataclasses.asdict(claim._myself())).encode()
        try:
            os.close(claim._take(directory / CLAIM, text))
            won.append(text)
        except RunBusy:
            refused.append(number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claim, "_create", turns.gated(claim._create))
        patch.setattr(claim, "_look", turns.gated(claim._look))
        patch.setattr(claim.os, "replace", turns.gated(os.replace))
        patch.setattr(Path, "unlink", turns.gated(Path.unlink))
        turns.run([lambda number=number: take(number) for number in range(3)])
    assert (len(won), len(refused)) == (1, 2)
    assert (directory / CLAIM).read_bytes() == won[0]
    assert os.listdir(directory) == [CLAIM]


# ---------------------------------------------------------------- losing a run

WRITE = """
for number in range(10**6):
    record.write_rows([{"epoch": number + 1, "by": 1}])
    time.sleep(0.01)
"""


@pytest.mark.fault("claims")
def test_a_suspended_owner_wakes_up_to_another_owner_and_writes_nothing(tmp_path: Path, process) -> None:
    """SIGSTOP, taken over from another machine, SIGCONT: it ends with a message naming the new owner."""
    owner = process(tmp_path, "another", WRITE)
    while not read_rows(tmp_path):
        time.sleep(0.01)
    owner.send_signal(signal.SIGSTOP)
    with claimed(tmp_path) as held:
        OpenRecord(tmp_path, "run", held).write_rows([{"epoch": 7, "by": 2}])
        owner.send_signal(signal.SIGCONT)
        out, _ = owner.communicate(timeout=20)
        assert owner.returncode == 1
        assert out.startswith(f"ClaimLost {tmp_path}: process {os.getpid()} on ")
        assert "has taken the run over, while this process was suspended" in out
        assert read_rows(tmp_path) == [{"epoch": 7, "by": 2}]
        held.check()
    assert {path.suffix for path in tmp_path.iterdir()} <= {".csv", ""}


@pytest.mark.fault("claims")
def test_a_deleted_claim_ends_its_owner(tmp_path: Path, monkeypatch) -> None:
    """At its next check; a claim whose block has ended is no claim either."""
    monkeypatch.chdir(tmp_path)
    with claimed(Path("run")) as held:
        held.check()
        (tmp_path / "run" / CLAIM).unlink()
        with pytest.raises(ClaimLost, match="the claim on the run is gone"):
            held.check()
    with claimed(Path("run")) as held:
        held.check()
    with pytest.raises(ClaimLost):
        held.check()
    assert os.listdir(tmp_path / "run") == []


WRITES: dict[str, Callable[[OpenRecord], None]] = {
    "write": lambda record: record.write("model.safetensors", b"new"),
    "write_json": lambda record: record.write_json("env.json", {"new": 1}),
    "write_rows": lambda record: record.write_rows([{"epoch": 2}]),
    "write_config": lambda record: record.write_config(Holder("new", 1, "", "", 0, "")),
    "write_summary": lambda record: record.write_summary({"state": "failed"}),
    "rename": lambda record: record.rename("last.pt", "previous.pt"),
    "remove": lambda record: record.remove("env.json", "last.pt"),
    "checkpoint": lambda record: checkpoint.write(record, {"new": 1}),
    "checkpoints": lambda record: checkpoint.remove(record),
}


@pytest.mark.fault("claims")
@pytest.mark.parametrize("how", WRITES)
@pytest.mark.parametrize("lost", ["taken over", "deleted", "never held"])
def test_without_the_claim_no_file_changes(tmp_path: Path, how: str, lost: str) -> None:
    """Every way to write a record, after the claim is lost, and on a rank that has none: the folder, byte for byte."""

    def content() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    for name in ("env.json", "last.pt", "previous.pt", "summary.json", "epochs.csv"):
        (tmp_path / name).write_bytes(b"old")
    with claimed(tmp_path) as held:
        record = OpenRecord(tmp_path, "run", held if lost != "never held" else None)
        if lost == "taken over":
            put(tmp_path)
        elif lost == "deleted":
            (tmp_path / CLAIM).unlink()
        before = content()
        with pytest.raises(RuntimeError if lost == "never held" else ClaimLost):
            WRITES[how](record)
        assert content() == before
    (tmp_path / CLAIM).unlink(missing_ok=True)
    with claimed(tmp_path) as held:
        before = content()
        WRITES[how](OpenRecord(tmp_path, "run", held))
        assert content() != before


@pytest.mark.fault("claims")
@pytest.mark.parametrize(
    ("call", "number", "words"),
    [
        ("open", errno.EROFS, "file system is read-only"),
        ("open", errno.EACCES, "no permission"),
        ("write", errno.ENOSPC, "no space left"),
        ("fsync", errno.EDQUOT, "quota is used up"),
    ],
)
def test_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch, call: str, number: int, words: str
) -> None:
    """One message that names the folder; no claim is left there."""

    def refuse(*arguments):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(claim.os, call, refuse)
        with pytest.raises(OutputError, match=f"{tmp_path}: .*{words}"), claimed(tmp_path):
            pass
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------- what others see


@pytest.mark.fault("claims")
def test_a_running_run_without_a_process_was_interrupted(tmp_path: Path, process) -> None:
    """By summary and by `mixbench runs`: running while its owner lives or is elsewhere, else interrupted."""

    def shown() -> set[str]:
        return {str((read_summary(tmp_path) or {})["state"]), *frame(tmp_path)["state"]}

    tmp_path.joinpath("summary.json").write_text(json.dumps({"state": "running", "config": {}}))
    assert shown() == {"interrupted"}
    owner = process(tmp_path)
    assert shown() == {"running"}
    owner.kill()
    owner.wait()
    assert shown() == {"interrupted"}
    put(tmp_path, machine="another")
    assert shown() == {"running"}


RUN = ("augment=gmix", "opt=sam", "epochs=4", "batch_size=50", "checkpoint_seconds=0.01", "device=cpu",
       "dataset.train_size=400", "dataset.test_size=100")  # fmt: skip

TRAIN = f"""
import sys
from mixbench.record import claim
from mixbench.cli import main
claim.BEAT, claim.SILENCE, claim.POLL = {BEAT}, {SILENCE}, {POLL}
claim._machine = lambda: sys.argv[1]
main(["train", *sys.argv[2:]])
"""


@pytest.mark.fault("claims")
def test_a_run_that_another_process_finished_meanwhile_is_shown(mixbench, workplace: Path, process) -> None:
    """The owner finishes while a second process waits for the run: that one trains nothing."""
    from mixbench.config.compose import compose
    from mixbench.config.identity import run_dir
    from mixbench.training.run import execute

    config = compose([*RUN, "epochs=1"])
    assert mixbench("train", *RUN, "epochs=1").status == 0
    directory = run_dir(config)
    finished = (directory / "summary.json").read_text()
    (directory / "summary.json").unlink()
    work = f"time.sleep(0.5); (directory / 'summary.json').write_text({finished!r})"
    process(directory, "", work)
    execute(config, patience=20)
    assert (directory / "summary.json").read_text() == finished


@pytest.mark.fault("claims")
@pytest.mark.long
@pytest.mark.parametrize("moment", ["while it trains", "when it has finished"])
def test_a_suspended_training_leaves_the_new_owners_run_alone(workplace: Path, moment: str) -> None:
    """Real trainings on two "machines": the first is stopped, the second takes over, the first wakes up.

    Oracle: the run that one process trained alone, bit for bit; the first ends with status 1 and the message.
    """

    def train(machine: str, folder: str, *more: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-c", TRAIN, machine, *RUN, f"output_dir={folder}", *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def result(folder: str) -> tuple[dict[str, torch.Tensor], list[dict]]:
        (summary,) = (workplace / folder).rglob("summary.json")
        assert json.loads(summary.read_text())["state"] == "finished"
        assert not (summary.parent / CLAIM).exists()
        weights = safetensors.torch.load_file(summary.parent / "model.safetensors")
        rows = read_rows(summary.parent)
        return weights, [{k: v for k, v in row.items() if "seconds" not in k} for row in rows]

    alone, first = train("first", "alone"), train("first", "shared")
    try:
        deadline = time.monotonic() + 120
        while not list(workplace.glob("shared/**/last.pt")):
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        first.send_signal(signal.SIGSTOP)
        (directory,) = (path.parent for path in workplace.glob("shared/**/summary.json"))
        stopped_at = (directory / CLAIM).read_bytes()
        second = train("second", "shared")
        if moment == "while it trains":
            while (directory / CLAIM).read_bytes() == stopped_at:
                assert second.poll() is None
                time.sleep(0.005)
            first.send_signal(signal.SIGCONT)
            out, _ = first.communicate(timeout=60)
        assert second.wait(timeout=120) == 0, second.stdout.read()
        assert alone.wait(timeout=120) == 0, alone.stdout.read()
        if moment == "when it has finished":
            before = {path: path.read_bytes() for path in directory.iterdir()}
            first.send_signal(signal.SIGCONT)
            out, _ = first.communicate(timeout=60)
            assert {path: path.read_bytes() for path in directory.iterdir()} == before
    finally:
        for one in (alone, first):
            one.kill()
    assert first.returncode == RunBusy.exit_status, out
    assert "while this process was suspended" in out
    assert "Traceback" not in out
    weights, rows = result("alone")
    others, other_rows = result("shared")
    assert rows == other_rows
    for name, tensor in weights.items():
        assert torch.equal(tensor, others[name]), name
