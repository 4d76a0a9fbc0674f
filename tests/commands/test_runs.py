"""`mixbench runs`: what exists, filtered and sorted, quickly."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pandas as pd
import pytest
from run_records import leave

from mixbench.commands.runs import main
from mixbench.config.compose import compose
from mixbench.config.identity import run_dir
from mixbench.errors import ConfigError
from mixbench.papers.cells import Planned
from mixbench.papers.spec import Cell
from mixbench.record.claim import claimed
from mixbench.record.read import directories
from mixbench.record.run import SavedRun
from mixbench.summarize.frame import frame, query


def make(root: Path, number: int, **changes) -> Path:
    """A run directory as training leaves it."""
    directory = root / "digits" / "small_cnn" / f"m{number % 7}" / f"{number:012x}"
    directory.mkdir(parents=True)
    row = {"epoch": 2, "test_acc": 50 + number / 1000, "train_seconds": 1.0}
    config = {
        "augment": "gmix",
        "augment.alpha": 0.5,
        "opt.rho": number / 100,
        "seed": number,
        "model": "wrn",
    }
    summary = {
        "state": "failed" if number % 10 == 3 else "finished",
        "id": directory.name,
        "dataset": "digits",
        "model": "wrn16_4",
        "method": "gmix",
        "config": config | {f"knob{i}": i for i in range(40)},
        "selections": {"last": row, "best_test": row | {"epoch": 1, "test_acc": 99.0}},
        "train_seconds": 7.0,
        **changes,
    }
    (directory / "summary.json").write_text(json.dumps(summary))
    return directory


def test_a_run_that_was_stopped_shows_the_epochs_that_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """By hand: three rows; the last and the best of them, the sum of their seconds, as whole numbers where they are."""
    accuracies = [50.0, 70.0, 60.0]
    config = compose(["dataset=mutag", "model=gin", "dataset.fold=8", f"output_dir={tmp_path}"])
    leave(Planned(Cell("", "", 0, ()), config, SavedRun(run_dir(config))), accuracies, state="interrupted")
    make(tmp_path, 5)  # whose lacking fold makes the column one of floats
    (row,) = query(frame(tmp_path), ["state=interrupted"]).to_dict("records")
    assert (row["epoch"], row["test_acc"], row["train_seconds"], row["eval_seconds"]) == (3, 60, 15, 3)
    (best,) = query(frame(tmp_path, "best_test"), ["state=interrupted"]).to_dict("records")
    assert (best["epoch"], best["test_acc"]) == (2, 70)
    assert main(["--output-dir", str(tmp_path), "--columns", "dataset.fold,epoch,test_acc"]) == 0
    assert ["8", "3", "60.00"] in [line.split() for line in capsys.readouterr().out.splitlines()]


def test_an_option_is_found_by_its_own_name_too(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """By hand: model=wrn is wrn16_4 in the folder; where nothing fits, what there is is said."""
    for number in (0, 5):
        make(tmp_path, number)
    runs = frame(tmp_path)
    for name, count in {"wrn": 2, "wrn16_4": 2, "gin": 0}.items():
        assert len(query(runs, [f"model={name}"])) == count
        assert len(query(runs, [f"model!={name}"])) == 2 - count
    assert main(["--output-dir", str(tmp_path), "model=gin", "seed=5"]) == 0
    assert capsys.readouterr().err == "model: there are wrn, wrn16_4\nseed: there are 0, 5\n"


@pytest.fixture
def runs(tmp_path: Path) -> pd.DataFrame:
    for number in range(20):
        make(tmp_path, number)
    return frame(tmp_path)


def test_rows_hold_config_metrics_and_whole_times(tmp_path: Path) -> None:
    """By hand: one run, each kind of column; the folder's model name wins over the config's family."""
    make(tmp_path, 5)
    (row,) = frame(tmp_path).to_dict("records")
    assert (row["augment.alpha"], row["seed"], row["model"], row["test_acc"]) == (0.5, 5, "wrn16_4", 50.005)
    assert row["train_seconds"] == 7.0
    (best,) = frame(tmp_path, "best_test").to_dict("records")
    assert (best["epoch"], best["test_acc"]) == (1, 99.0)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (["state=failed"], "state == 'failed'"),
        (["opt.rho>=0.1", "seed<15"], "`opt.rho` >= 0.1 and seed < 15"),
        (["seed!=4"], "seed != 4"),
        (["augment=gmix", "test_acc>50.01"], "test_acc > 50.01"),
        (["seed=7.0"], "seed == 7"),
    ],
)
def test_conditions_agree_with_pandas(runs: pd.DataFrame, conditions: list[str], expected: str) -> None:
    """Oracle: DataFrame.query."""
    assert list(query(runs, conditions)["id"]) == list(runs.query(expected)["id"])


def test_a_wrong_condition_or_key_is_named(runs: pd.DataFrame) -> None:
    """The nearest key, and how a condition is written."""
    with pytest.raises(ConfigError, match=r"Did you mean 'opt\.rho'"):
        query(runs, ["opt.rh=1"])
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        query(runs, ["failed"])


def test_broken_and_moved_runs(tmp_path: Path) -> None:
    """A torn summary is a row of its own; a directory that was moved aside is none."""
    (make(tmp_path, 1) / "summary.json").write_text('{"state": "fini')
    make(tmp_path, 2).rename(tmp_path / "digits" / "small_cnn" / "m2" / "x.old1")
    make(tmp_path, 3, config=None)
    assert list(frame(tmp_path)["state"]) == ["unreadable", "unreadable"]
    assert list(directories(tmp_path / "none")) == []


def test_ten_thousand_runs_in_five_seconds(tmp_path: Path) -> None:
    """The time of `frame` and a query on synthetic runs, as this process's own (other tests run beside it)."""
    for number in range(10_000):
        make(tmp_path, number)
    start = time.process_time()
    found = query(frame(tmp_path), ["state=failed"])
    seconds = time.process_time() - start
    assert len(found) == 1000
    assert seconds < 5


def test_the_command_prints_every_format(mixbench) -> None:
    """Oracle: the formats' own readers, on a real run."""
    import io

    train = ("train", "epochs=1", "dataset.train_size=100", "dataset.test_size=50", "batch_size=50")
    assert mixbench("runs").out.startswith("no runs below outputs")
    assert mixbench(*train).status == 0
    from_csv = pd.read_csv(io.StringIO(mixbench("runs", "--format", "csv", "--columns", "all").out))
    from_json = json.loads(mixbench("runs", "--format", "json").out)
    text = mixbench("runs", "dataset=digits", "--sort", "test_acc", "--descending").out
    assert from_csv["dataset.train_size"][0] == 100
    assert from_json[0]["test_acc"] == pytest.approx(from_csv["test_acc"][0])
    assert from_json[0]["id"] in text
    assert text.endswith("1 run\n")
    md = mixbench("runs", "--format", "md").out.splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in md]
    assert [cells[0], *cells[2:]] == [line.split() for line in text.splitlines()[:-1]]
    words = mixbench("runs", "--columns", "seed,state,test_acc").out.splitlines()
    assert [line.find(key) for line, key in zip(words, ("state", "finished"), strict=False)] == [6, 6]
    assert (words[0].endswith("test_acc"), len(words[0])) == (True, len(words[1]))
    assert mixbench("runs", "nonsense=1").status == 2


def test_the_keys_that_tell_runs_apart_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """By hand: opt.rho differs, augment.alpha does not; the epoch is a whole number though one run has none."""
    for number in (0, 7):
        make(tmp_path, number)
    make(tmp_path, 14, selections={})
    main(["--output-dir", str(tmp_path)])
    head, *rows, count = capsys.readouterr().out.splitlines()
    assert head.split()[:6] == ["id", "dataset", "model", "method", "opt.rho", "seed"]
    assert [row.split()[7] for row in rows] == ["2", "2", "-"]
    assert count == "3 runs"


def test_a_checksum_is_shown_where_it_alone_tells_runs_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """By hand: beside paths that differ as well, or a run whose data were not found, it is left out; in one place with
    two contents its first digits are shown, and a condition takes them.
    """
    contents = ["ab" * 32, "cd" * 32, None]

    def listed(*of_each: tuple[str, int]) -> list[list[str]]:
        root = tmp_path / str(len([*tmp_path.iterdir()]))
        for number, (path, content) in enumerate(of_each):
            values = {"dataset": "folder", "dataset.path": path, "dataset.content": contents[content]}
            make(root, 7 * number, config={**values, "seed": number})
        assert main(["--output-dir", str(root)]) == 0
        return [line.split() for line in capsys.readouterr().out.splitlines()]

    head, *rows, _ = listed(("a/pets", 0), ("b/pets", 1))
    assert head[4:6] == ["dataset.path", "seed"]
    assert [row[4] for row in rows] == ["a/pets", "b/pets"]
    assert listed(("a/pets", 0), ("a/pets", 2))[0][4] == "seed"
    head, *rows, _ = listed(("a/pets", 0), ("a/pets", 1))
    assert head[4:6] == ["dataset.content", "seed"]
    assert [row[4] for row in rows] == ["abababab", "cdcdcdcd"]
    runs = pd.DataFrame({"dataset.content": contents})
    for asked, count in (("abababab", 1), (contents[1], 1), ("abababac", 0)):
        assert len(query(runs, [f"dataset.content={asked}"])) == count


def test_delete_takes_the_runs_of_a_query_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three runs the failed one goes, with the folder of its method that it leaves empty; one that a process holds
    stays and is named; without a query, or nobody to ask, nothing happens.
    """
    places = [make(tmp_path, number) for number in (1, 3, 5)]
    root = ["--output-dir", str(tmp_path)]
    with pytest.raises(ConfigError, match="of which runs"):
        main([*root, "--delete", "--yes"])
    with pytest.raises(ConfigError, match="nobody can answer"):
        main([*root, "--delete", "state=failed"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "no")
    assert main([*root, "--delete", "state=failed"]) == 0
    assert all(place.is_dir() for place in places)
    assert main([*root, "--delete", "state=failed", "--yes"]) == 0
    assert [place.is_dir() for place in places] == [True, False, True]
    assert not places[1].parent.exists()
    with claimed(places[0]):
        assert main([*root, "--delete", "seed<9", "--yes"]) == 1
    out, err = capsys.readouterr()
    assert [place.is_dir() for place in places] == [True, False, False]
    assert str(places[0]) in err
    assert "1 deleted" in out


def test_a_run_that_was_refused_before_its_first_step_has_not_begun(mixbench, workplace: Path) -> None:
    """By hand: a set that was never imported; one whose first epoch ends in a loss that is not finite has begun.

    Both are tried again by `mixbench retry`.
    """
    tiny = ("epochs=1", "batch_size=50", "dataset.train_size=100", "dataset.test_size=50")
    method = ("dataset=mutag", "model=gin", "batch_size=32", "data_dir=none")
    assert mixbench("train", *method).status == 2
    assert mixbench("train", *tiny, "opt.lr=1e30").status != 0
    runs = frame(workplace / "outputs").set_index("dataset")
    assert (runs.loc["mutag", "state"], runs.loc["digits", "state"]) == ("not begun", "failed")
    assert "mixbench data import mutag PATH" in runs.loc["mutag", "error"]
    told = mixbench("retry", "--dry-run")
    assert "/mutag/gin5x32/" in told.out
    assert "/digits/small_cnn/" in told.out
