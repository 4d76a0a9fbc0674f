"""What a run was trained on is in its record: other arrays under the same name are named, and never pass for them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from whole_runs import only_run, stopped_after

from mixbench import load_run
from mixbench.errors import DataError
from mixbench.record.run import SavedRun

SMALL = ("dataset.train_size=100", "dataset.test_size=50", "batch_size=50", "device=cpu")


def digits(path: Path, seed: int) -> Path:
    """Noise of the digits' shape and sizes, as somebody might import it under their name."""
    random = np.random.default_rng(seed)
    made = {}
    for part, n in (("train", 200), ("test", 80)):
        made[f"{part}_images"] = random.integers(0, 256, (n, 8, 8, 1), np.uint8)
        made[f"{part}_labels"] = np.arange(n, dtype=np.int64) % 10
    np.savez(path, **made)
    return path


@pytest.fixture
def two(mixbench, workplace: Path) -> tuple[str, str]:
    """Two data folders with different arrays under the name digits."""
    for name, seed in (("one", 1), ("two", 2)):
        made = mixbench(
            "data", "import", "digits", str(digits(workplace / f"{name}.npz", seed)), "--data-dir", name
        )
        assert made.status == 0, made.err
    return "data_dir=one", "data_dir=two"


def test_a_finished_run_on_other_data_is_named_and_not_shown(mixbench, workplace: Path, two: tuple) -> None:
    """Oracle: the checksums of the arrays in the .npz files. The record stays as it is, and is shown with its own."""
    one, other = two
    assert mixbench("train", *SMALL, "epochs=1", one).status == 0
    run = only_run(workplace / "outputs")
    record = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    images = {name: np.load(f"{name}.npz")["train_images"] for name in ("one", "two")}
    was, found = (hashlib.sha256(images[name].tobytes()).hexdigest() for name in ("one", "two"))
    assert SavedRun(run).data["train_images"] == was

    refused = mixbench("train", *SMALL, "epochs=1", other)
    assert refused.status == 2
    assert "finished" not in refused.out
    assert f"SHA-256 of train_images was {was[:12]}... and is {found[:12]}..." in refused.err
    assert {path: path.read_bytes() for path in run.iterdir() if path.is_file()} == record
    assert mixbench("train", *SMALL, "epochs=1", one).out.startswith("finished")
    with pytest.raises(DataError, match="was trained on other data"):
        load_run(run).splits("two")
    assert mixbench("train", *SMALL, "epochs=1", other, "force=true").status == 0
    assert SavedRun(run).data["train_images"] == found


def test_a_sweep_counts_it_as_not_finished(mixbench, workplace: Path, two: tuple) -> None:
    """The same in a sweep: named in the list and at the end, status 1."""
    one, other = two
    assert mixbench("train", *SMALL, "epochs=1", one).status == 0
    listed = mixbench("train", "-m", *SMALL, "epochs=1", other, "--dry-run")
    assert "other data" in listed.out
    assert "finished" not in listed.out
    swept = mixbench("train", "-m", *SMALL, "epochs=1", other)
    assert swept.status == 1
    assert "0 already finished" in swept.out
    assert "0 of 1 runs finished" in swept.out
    assert "was trained on other data" in swept.out


def test_a_stopped_run_does_not_go_on_with_other_data(mixbench, workplace: Path, two: tuple) -> None:
    """Also where its summary has been deleted: the checkpoint knows. With the old data it goes on."""
    one, other = two
    with stopped_after(1):
        mixbench("train", *SMALL, "epochs=3", one, "checkpoint_seconds=0")
    run = only_run(workplace / "outputs")
    checkpoint = (run / "last.pt").read_bytes()
    refused = mixbench("train", *SMALL, "epochs=3", other)
    assert refused.status == 2
    assert "was trained on other data" in refused.err
    assert SavedRun(run).state == "interrupted"
    (run / "summary.json").unlink()
    assert "was trained on other data" in mixbench("train", *SMALL, "epochs=3", other).err
    assert (run / "last.pt").read_bytes() == checkpoint
    goes_on = mixbench("train", *SMALL, "epochs=3", one)
    assert goes_on.status == 0, goes_on.err
    assert "resume   after epoch 1" in goes_on.out


def test_a_record_without_checksums_is_read_as_it_is(mixbench, workplace: Path, two: tuple) -> None:
    """Earlier versions wrote none: their runs are shown."""
    assert mixbench("train", *SMALL, "epochs=1", two[0]).status == 0
    path = only_run(workplace / "outputs") / "summary.json"
    summary = json.loads(path.read_text())
    del summary["data"], summary["sha256"]
    path.write_text(json.dumps(summary))
    assert mixbench("train", *SMALL, "epochs=1", two[1]).out.startswith("finished")
