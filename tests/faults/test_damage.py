"""Files of a run that have changed on the disk: named, and never a wrong number. Oracle: the run as it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from whole_runs import RUN, assert_same, forked, only_run, result, train_to_the_end

from mixbench import load_run
from mixbench.errors import DataError

SPEC = f"""
kind: KIND
title: One run
source: a test
base: [{", ".join(RUN)}]
seeds: 1
select: last
metrics:
  - {{name: Accuracy, column: test_acc}}
rows: {{Ours: []}}
columns: {{digits: []}}
notes: []
"""
READERS = {
    "runs": ["runs", "--format", "csv", "--columns", "all"],
    "table": ["table", "table.yaml"],
    "figure": ["figure", "figure.yaml", "--out", "figure.svg"],
    "train": ["train", *RUN],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """A folder with a finished run in outputs/, and what to read it with."""
    place = tmp_path_factory.mktemp("finished")
    train_to_the_end(place / "printed", f"output_dir={place / 'outputs'}", f"data_dir={data_dir}")
    for kind in ("table", "figure"):
        (place / f"{kind}.yaml").write_text(SPEC.replace("KIND", kind))
    return place


def damaged(content: bytes, where: float, bit: int | None) -> bytes:
    """`content` with one bit flipped, or cut off there."""
    at = int(where * len(content))
    if bit is None:
        return content[:at]
    return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]


def said(mixbench: Callable, reader: str) -> str:
    done = mixbench(*READERS[reader])
    assert "Traceback" not in done.err
    picture = Path("figure.svg")
    drawn = [line for line in picture.read_text().splitlines() if " d=" in line] if picture.exists() else []
    picture.unlink(missing_ok=True)
    return "\n".join([done.out, done.err, *drawn])


@pytest.mark.fault("damage")
@pytest.mark.parametrize("name", ["summary.json", "epochs.csv", "config.yaml", "model.safetensors"])
@pytest.mark.parametrize("examples", [5, pytest.param(10, marks=pytest.mark.long)])
def test_damage_in_a_finished_run_is_never_a_wrong_number(
    mixbench: Callable,
    finished: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    examples: int,
    record_property,
) -> None:
    """Whatever reads the run says the same as before or names the file; `runs --verify` always names it."""
    monkeypatch.chdir(finished)
    path = only_run(finished / "outputs") / name
    whole = path.read_bytes()
    before = {reader: said(mixbench, reader) for reader in READERS}
    assert all("51.0" in text or "<path" in text for text in before.values())
    counted = [0]

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.floats(0, 1, exclude_max=True), st.none() | st.integers(0, 7))
    def any_damage(where: float, bit: int | None) -> None:
        path.write_bytes(damaged(whole, where, bit))
        counted[0] += 1
        for reader in READERS:
            after = said(mixbench, reader)
            assert after == before[reader] or name in after or "unreadable" in after, after
        verified = mixbench("runs", "--verify")
        if verified.status == 0:  # 1e-05 and 1E-05 are the same number
            assert name == "summary.json"
            assert path.read_bytes().lower().strip() == whole.lower().strip()
        else:
            assert f"{path.relative_to(finished)} " in verified.out

    try:
        any_damage()
    finally:
        path.write_bytes(whole)
    record_property("faults", counted[0])


NAMES = ("summary.json", "epochs.csv", "config.yaml", "env.json", "train.log", "last.pt", "previous.pt")


@pytest.mark.fault("damage")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["flipped", "cut off", "emptied", "garbage"])
def test_damage_in_an_interrupted_run(
    mixbench: Callable, workplace: Path, stopped: Path, reference: tuple, name: str, kind: str
) -> None:
    """The run goes on to the same end, or is refused with the file's name and what to do, which then works."""
    shutil.copytree(stopped, "outputs")
    path = only_run(workplace / "outputs") / name
    whole = path.read_bytes()
    half = len(whole) // 2
    path.write_bytes(
        {
            "flipped": damaged(whole, 0.5, 2),
            "cut off": whole[:half],
            "emptied": b"",
            "garbage": bytes(range(256)) * 9,
        }[kind]
    )
    done = mixbench("train", *RUN)
    assert "Traceback" not in done.err
    if name == "epochs.csv":
        assert done.status == 1
        assert f"last.pt cannot be gone on from: {path.relative_to(workplace)} " in done.err
        assert "force=true starts the run over" in done.err
        assert mixbench("train", *RUN, "force=true").status == 0
        shutil.rmtree(next(Path("outputs").rglob("*.old1")))
    elif done.status:
        assert (done.status, name) == (2, "summary.json")
        assert "Delete that file to go on from the run's last checkpoint" in done.err
        path.unlink()
        assert mixbench("train", *RUN).status == 0
    elif name == "last.pt":
        assert "last.pt is damaged" in done.out
    assert_same(result(workplace / "outputs"), reference)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """The outputs of a run killed with both checkpoints on the disk and two of three epochs done."""
    import time

    place = tmp_path_factory.mktemp("stopped")
    while True:
        root = place / "outputs"
        process = forked(
            place / "printed", f"output_dir={root}", f"data_dir={data_dir}", "checkpoint_seconds=0.001"
        )
        while process.is_alive():
            rows = list(root.rglob("epochs.csv"))
            if rows and rows[0].read_text().count("\n") == 3 and list(root.rglob("previous.pt")):
                break
            time.sleep(0.002)
        process.kill()
        process.join()
        if list(root.rglob("last.pt")) and list(root.rglob("previous.pt")):
            return root
        shutil.rmtree(root)


@pytest.mark.fault("damage")
@pytest.mark.parametrize("file", ["model.safetensors", "config.yaml"])
def test_a_finished_run_whose_files_were_changed_is_no_finished_run(
    mixbench: Callable, workplace: Path, file: str
) -> None:
    """Lost weights are said before the run is called finished; a config that was edited afterwards is not the run's."""
    tiny = ("epochs=1", "dataset.train_size=50", "dataset.test_size=20", "batch_size=50")
    assert mixbench("train", *tiny).status == 0
    (path,) = Path("outputs").rglob(file)
    if file == "model.safetensors":
        path.unlink()
        done = mixbench("train", *tiny)
        assert "force=true trains the run again" in done.err
    else:
        path.write_text(path.read_text().replace("seed: 0", "seed: 1"))
        done = mixbench("eval", "outputs", "--on", "test", "--only", "accuracy")
        with pytest.raises(DataError, match=r"config\.yaml is damaged"):
            _ = load_run(path.parent).config
    assert f"{file} is" in done.err
    assert done.status != 0
