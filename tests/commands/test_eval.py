"""`mixbench eval` and `mixbench export` as commands: what they print, and their exit status."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from run_records import opened

from mixbench.analysis.show import text
from mixbench.record.run import SavedRun


def test_what_is_printed(mixbench, finished: Path) -> None:
    """By hand: the accuracy of the record, names of classes, the diagonal of the matrix; the second time the same."""
    first = mixbench("eval", str(finished))
    assert first.status == 0, first.err
    row = SavedRun(finished).rows[-1]
    accuracy = f"top-1 {row['test_acc']:.2f} %, top-5 {row['test_top5']:.2f} %, loss {row['test_loss']:.4f}"
    assert accuracy in first.out
    lines = first.out.splitlines()
    nine = next(line.split() for line in lines if line.startswith("  9 nine"))
    assert len(nine) == 12
    assert sum(int(cell) for cell in nine[2:] if cell != ".") == 10
    assert any(line.split()[:2] == ["rotation_20", f"{_kept(finished)['rotation_20']:.2f}"] for line in lines)
    again = mixbench("eval", str(finished))
    assert again.out.splitlines()[1:] == lines[1:]
    assert (
        "measured before: accuracy, per_class, confusion, calibration, deformations"
        in again.out.splitlines()[0]
    )


def _kept(directory: Path) -> dict:
    return json.loads((directory / "evaluations" / "deformations.json").read_text())["result"]


def test_many_classes_are_shown_as_pairs() -> None:
    """By hand: of 21 classes, those that are confused most often first; correct ones are not listed."""
    matrix = np.diag([50] * 21)
    matrix[3, 7], matrix[20, 0] = 4, 9
    evaluation = {
        "name": "confusion",
        "data": {"dataset": "d", "part": "test", "examples": int(matrix.sum())},
        "device": {"name": "cpu", "precision": "float32"},
        "measured": "now",
        "result": {"classes": [f"c{i}" for i in range(21)], "matrix": matrix.tolist()},
    }
    assert [line.split() for line in text(evaluation).splitlines()[2:]] == [
        ["c20", "taken", "for", "c0", "9", "of", "59"],
        ["c3", "taken", "for", "c7", "4", "of", "54"],
    ]


def test_json_is_what_is_kept(mixbench, finished: Path) -> None:
    """Oracle: the files."""
    done = mixbench("eval", "outputs", "--only", "confusion,accuracy", "--format", "json")
    assert done.status == 0, done.err
    ((entry),) = json.loads(done.out)
    assert entry["run"] == str(finished)
    for evaluation in entry["evaluations"]:
        kept = json.loads((finished / "evaluations" / f"{evaluation['name']}.json").read_text())
        assert evaluation == {key: value for key, value in kept.items() if key != "sha256"}
    assert [evaluation["name"] for evaluation in entry["evaluations"]] == ["confusion", "accuracy"]


def test_a_folder_with_runs_that_cannot_be_evaluated(mixbench, finished: Path) -> None:
    """The others are: each unfinished or damaged run is one line on stderr, and the exit status is 1."""
    stopped = finished.with_name("00stopped")
    shutil.copytree(finished, stopped)
    with opened(stopped) as record:
        record.write_summary(SavedRun(stopped).summary | {"state": "interrupted"})
    done = mixbench("eval", "outputs", "--only", "accuracy")
    assert done.status == 1
    assert "00stopped: the run is interrupted" in done.err
    assert f"mixbench retry --output-dir {stopped}" in done.err
    assert str(finished) in done.out
    assert "Traceback" not in done.err


def test_a_run_that_held_out_nothing_is_passed_over(mixbench, finished: Path) -> None:
    """One line on stderr, and status 0 as long as another run below the folder has the part."""
    assert mixbench("train", "epochs=1", "dataset.train_size=100", "batch_size=50").status == 0
    (other,) = (p.parent for p in Path("outputs").rglob("summary.json") if p.parent != finished)
    done = mixbench("eval", "outputs", "--on", "val", "--only", "accuracy")
    assert done.status == 0
    assert str(finished) in done.out
    assert f"--on val: {other} held out no examples" in done.err
    assert mixbench("eval", str(other), "--on", "val", "--only", "accuracy").status == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("outputs", "--only", "acuracy"), ["--only acuracy", "Did you mean 'accuracy'"]),
        (("nowhere",), ["nowhere: is no run"]),
        (("outputs", "accuracy"), ["accuracy: is no run", "chosen with --only accuracy."]),
        (("outputs", "--on", "tset"), ["--on tset"]),
        (("outputs", "--set", "robustness.linf=[4,8,4]"), ["--set robustness.linf: 4 is there twice."]),
        (("outputs", "--set", "robustness.linf=4"), ["a list; write linf=[4]."]),
        (
            ("outputs", "--only", "accuracy", "--set", "calibration.bins=5"),
            ["calibration is not made; add it to --only accuracy."],
        ),
    ],
)
def test_mistakes_are_named(mixbench, finished: Path, arguments: tuple[str, ...], words: list[str]) -> None:
    """One message, status 2, before anything is measured."""
    done = mixbench("eval", *arguments)
    assert done.status == 2
    assert all(word in done.err for word in words), done.err


@pytest.mark.fault("hostile")
def test_what_is_no_file_of_ours_counts_as_not_there(mixbench, finished: Path) -> None:
    """A pipe, which nobody writes to, and a device without an end, where evaluations lie."""
    (finished / "evaluations").mkdir(exist_ok=True)
    os.mkfifo(finished / "evaluations" / "accuracy.json")
    (finished / "evaluations" / "calibration.json").symlink_to("/dev/zero")
    done = mixbench("eval", str(finished), "--only", "accuracy,calibration")
    assert done.status == 0, done.err
    assert "measured before" not in done.out


def test_export_says_what_it_wrote(mixbench, finished: Path) -> None:
    """The file, and that its tensors are the network's; a run that is none is one message."""
    done = mixbench("export", str(finished), "--format", "state_dict")
    assert done.status == 0, done.err
    assert f"written: {finished / 'model.state_dict.pt'}" in done.out
    assert "its tensors are those of the network, bit for bit" in done.out
    assert mixbench("export", "nowhere", "--format", "onnx").status == 2
