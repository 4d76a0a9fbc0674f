"""Records from somebody else: one is named, skipped and counted, all others are shown; nothing hangs or reads on."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from run_records import leave, opened

from mixbench.config.compose import compose
from mixbench.config.identity import run_dir
from mixbench.errors import DataError
from mixbench.papers.cells import Planned
from mixbench.papers.spec import Cell
from mixbench.record.claim import CLAIM, NoClaim, claimed, holder
from mixbench.record.read import directories
from mixbench.record.run import SavedRun
from mixbench.summarize.frame import frame
from mixbench.summarize.settings import collect
from mixbench.training.restore import load_run

pytestmark = pytest.mark.fault("hostile")
ESCAPE = "\x1b[2J\x1b]0;owned\x07\x9b1m\u202eabc"


def run_of(*overrides: str, **changes: object) -> SavedRun:
    """A finished run of three epochs."""
    config = compose(["opt=sam", "epochs=3", *overrides])
    directory = run_dir(config)
    leave(Planned(Cell("", "", 0, ()), config, SavedRun(directory)), [10.0, 30.0, 20.0], **changes)
    with opened(directory) as record:
        record.write_config(config)
    return SavedRun(directory)


def changed(run: SavedRun, **values: object) -> None:
    """Put values into the summary, whose checksum is left out, as in records that had none."""
    path = run.directory / "summary.json"
    content = {**json.loads(path.read_bytes()), **values}
    del content["sha256"]
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))


SUMMARIES = {
    "state list": {"state": ["finished"]},
    "state object": {"state": {"finished": 1}},
    "state null": {"state": None},
    "text for a number": {"train_seconds": "5"},
    "huge epoch": {"selections": {"last": {"epoch": 10**400}, "best_test": {"epoch": 1}}},
    "infinite epoch": {"selections": {"last": {"epoch": float("inf")}, "best_test": {"epoch": 1}}},
    "NaN epoch": {"selections": {"last": {"epoch": float("nan")}, "best_test": {"epoch": 1}}},
    "epoch 0": {"selections": {"last": {"epoch": 0}, "best_test": {"epoch": 1}}},
    "rows of text": {"selections": {"last": {"test_acc": "9"}, "best_test": {"epoch": 1}}},
    "surrogate": {"method": "sam\ud800"},
    "id of another type": {"id": {"a": 1}},
    "starts": {"starts": True},
    "times below zero": {"eval_seconds": -1e308},
    "files, a list": {"files": ["/dev/zero"]},
    "files, a device": {"files": {"/dev/zero": "0" * 64}},
    "files, above": {"files": {"../config.yaml": "0" * 64}},
    "files, another checksum": {"files": {"config.yaml": "0" * 63 + "\n"}},
    "data": {"data": ["x"]},
    "history": {"history": {"0": {}}},
    "kept": {"kept": {"last": "1"}},
    "nested without end": {"x": json.loads("[" * 400 + "]" * 400)},
    "only finished": dict.fromkeys(("config", "selections", "id", "dataset", "model", "method"), ...),
}


def broken(kind: str, path: Path) -> None:
    """Put something else in the place of a file."""
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "dangling":
        path.symlink_to("nowhere")
    else:
        with open(path, "wb") as file:
            file.truncate(2**42)  # a hole of 4 TB


FILES = ("summary.json", "epochs.csv", "env.json", "config.yaml", "model.safetensors")
KINDS = ("pipe", "folder", "device", "loop", "gigantic")


COMMANDS = (
    ("runs",),
    ("runs", "--format", "csv", "--columns", "all"),
    ("runs", "--verify"),
    ("retry", "--dry-run"),
    ("report",),
    ("tables",),
    ("table", "li2023/table2", "--dry-run", "--seeds", "1"),
    ("train", "opt=sam", "epochs=3", "seed=range(0,60)", "-m", "--dry-run"),
    ("eval", "outputs"),
)


@pytest.mark.slow
def test_foreign_runs_are_named_and_the_others_are_shown(mixbench: Callable, workplace: Path) -> None:
    """Two whole runs, one failed, among some forty of somebody else, by every command that reads them.

    Each of these ends with a message at most, no traceback; it counts the runs that it cannot read, and shows the rest.
    """
    whole, failed = run_of(), run_of("seed=1", state="failed")
    foreign = [run_of(f"seed={seed + 2}") for seed in range(len(SUMMARIES))]
    for run, values in zip(foreign, SUMMARIES.values(), strict=True):
        changed(run, **values)
    files = [(kind, name) for kind in KINDS for name in FILES]
    for seed, (kind, name) in enumerate(files, start=2 + len(foreign)):
        run = run_of(f"seed={seed}")
        changed(run, files={name: "0" * 64}, state="failed" if seed % 2 else "finished")
        broken(kind, run.directory / name)
    unreadable = len(SUMMARIES) + len(KINDS)
    for line in COMMANDS:
        done = mixbench(*line)
        assert done.status in (0, 1), (line, done.err)
        assert "Traceback" not in done.err, line
        if line[0] in ("runs", "retry", "report"):
            assert f"{unreadable} records could not be read:" in done.err, line
    assert f"{unreadable} unreadable" in mixbench(*COMMANDS[-2]).out
    table = frame(Path("outputs")).set_index("dir")
    assert table.loc[str(whole.directory), "test_acc"] == 20.0
    assert table.loc[str(failed.directory), "state"] == "failed"
    assert (table["state"] == "unreadable").sum() == unreadable
    assert str(failed.directory) in mixbench("retry", "--dry-run").out
    page = Path("report.html").read_text()
    assert all(str(run.directory) in page for run in (whole, failed, *foreign))


@pytest.mark.parametrize("kind", SUMMARIES)
def test_a_foreign_summary_is_unreadable(workplace: Path, kind: str) -> None:
    """By hand: the file, the key, what was found, what is expected. What is asked of such a run has an answer."""
    run = run_of()
    changed(run, **SUMMARIES[kind])
    run = SavedRun(run.directory)
    assert run.state == "unreadable"
    assert str(run.directory / "summary.json") in run.error
    assert next(iter(SUMMARIES[kind])) in run.error or "codec" in run.error
    assert run.damages() == [run.error]
    assert (run.values, run.selections) == ({}, {})


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_a_run_that_is_none(mixbench: Callable, workplace: Path, kind: str, name: str) -> None:
    """Nothing waits for a pipe, or reads a device or 4 TB: one line names the file."""
    run = run_of()
    broken(kind, run.directory / name)
    if name != "summary.json":
        changed(run, files={name: "0" * 64})
    assert str(run.directory / name) in SavedRun(run.directory).damages()[0]
    if name == "model.safetensors":
        with pytest.raises(DataError, match=name):
            load_run(run.directory).model()
    if name != "env.json":
        done = mixbench("train", "opt=sam", "epochs=3") if name != "config.yaml" else mixbench("retry")
        assert done.status in (0, 2)
        assert "Traceback" not in done.err


CLAIMS = {"pipe": NoClaim, "folder": NoClaim, "device": NoClaim, "loop": NoClaim, "dangling": NoClaim}


@pytest.mark.parametrize("kind", CLAIMS)
def test_a_claim_that_is_none(mixbench: Callable, workplace: Path, kind: str) -> None:
    """Nobody works on the run, which lists show; to train it is refused in one message that says what to delete, and
    works then.
    """
    run = run_of()
    changed(run, state="running")
    broken(kind, run.directory / CLAIM)
    assert holder(run.directory) is None
    assert SavedRun(run.directory).state == "interrupted"
    with pytest.raises(NoClaim, match=f"{CLAIM} is in the way"), claimed(run.directory):
        pass
    path = run.directory / CLAIM
    path.rmdir() if path.is_dir() else path.unlink()
    with claimed(run.directory):
        assert holder(run.directory) is not None
    assert not path.exists()


@pytest.mark.parametrize("name", [CLAIM, "folder", "summary.json"])
def test_what_we_may_not_read(workplace: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Permission is refused here by hand, as tests may run as root."""
    whole, other = run_of(), run_of("seed=1")
    changed(other, state="running")
    (other.directory / CLAIM).touch()
    secret = other.directory / name if name != "folder" else other.directory

    def refusing(call: Callable) -> Callable:
        def refused(path: object, *more: object) -> object:
            if Path(str(path)) == secret:
                raise PermissionError(13, "Permission denied", str(path))
            return call(path, *more)

        return refused

    for name_of in ("open", "scandir"):
        monkeypatch.setattr(os, name_of, refusing(getattr(os, name_of)))
    skipped = list[str]()
    found = {directory: SavedRun(directory) for directory in directories(Path("outputs"), skipped)}
    assert found[whole.directory].state == "finished"
    if name == "folder":
        assert (list(found), skipped) == ([whole.directory], [f"{secret}: Permission denied"])
    else:
        assert (found[other.directory].state, skipped) == (
            "running" if name == CLAIM else "unreadable",  # touched just now, by whom we cannot know
            [],
        )


def test_links_are_followed_once(workplace: Path) -> None:
    """Each real run is found once, where it lies: beside loops, a link that comes first, and one to nowhere."""
    runs = [run_of(), run_of("seed=1")]
    shutil.move("outputs", "there")
    Path("outputs").mkdir()
    places = [Path("there") / run.directory.relative_to("outputs") for run in runs]
    Path("outputs/self").symlink_to("self")
    Path("outputs/up").symlink_to(Path().resolve())
    Path("outputs/nowhere").symlink_to("gone")
    assert [p.resolve() for p in directories(Path("outputs"))] == [p.resolve() for p in sorted(places)]
    Path("there/aaa").symlink_to(places[0].resolve())
    Path("there/loop").symlink_to("../there")
    for root in ("there", "."):
        found = list(directories(Path(root)))
        assert [p.resolve() for p in found] == [p.resolve() for p in sorted(places)]
        assert not [p for p in found if "aaa" in p.parts]
    assert len(collect([Path("there"), Path("outputs")])) == 2


@pytest.mark.parametrize("form", ["text", "csv", "md", "json"])
def test_what_is_printed_is_printable(mixbench: Callable, workplace: Path, form: str) -> None:
    """Oracle: str.isprintable on every line. The text stays valid in its format."""
    run = run_of(state="failed", error=f"lost\n{ESCAPE}", method=ESCAPE, id=ESCAPE, launch=ESCAPE)
    shutil.copytree(run.directory, Path("outputs") / f"digits{ESCAPE}")
    for line in (
        ("runs", "--columns", "id,error,dir,method", "--format", form),
        ("runs", "--verify"),
        ("retry",),
        ("train", "opt=sam", "epochs=3", "seed=0,1", "-m", "--dry-run"),
        ("report",),
    ):
        done = mixbench(*line)
        for text in (done.out + done.err).replace("\t", " ").splitlines():
            assert text.isprintable(), (line, text)
        if line[:1] == ("runs",) and form == "json" and "json" in line:
            assert {row["method"] for row in json.loads(done.out)} == {ESCAPE}
        if line[:1] == ("runs",) and form == "csv" and "csv" in line:
            assert len(list(csv.DictReader(io.StringIO(done.out)))) == 2
