"""How fast pictures are read: counted by a clock that the test moves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from own_data import folder

from mixbench.bench import loading
from mixbench.bench.loading import Rates, reading
from mixbench.config.compose import compose
from mixbench.data.own import load_folder
from mixbench.data.pictures import Pictures


def test_the_rate_is_that_of_a_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed form: every picture takes a tenth of a second, so ten are read in one, over several epochs."""
    now = [100.0]
    decoded = Pictures._decoded

    def slow(*arguments):
        now[0] += 0.1
        return decoded(*arguments)

    monkeypatch.setattr(Pictures, "_decoded", slow)
    monkeypatch.setattr(loading.time, "perf_counter", lambda: now[0])
    config = compose(["dataset=folder", f"dataset.path={folder(tmp_path / 'set')}", "batch_size=6"])
    train = load_folder(config.dataset, tmp_path / "data").train
    assert reading(train, config, 0, 7.0) == pytest.approx(10)


def test_what_is_needed() -> None:
    """By hand: 900 images/s need nine processes of 101, ten of 99; one where the step is slower than reading."""
    assert Rates({1: 101.0}, 900.0).needed == 9
    assert Rates({1: 99.0}, 900.0).needed == 10
    assert Rates({1: 99.0, 2: 150.0}, 3.0).needed == 1
    assert [*Rates({1: 100.0, 2: 150.0}, 300.0).rows()] == [
        ["1", "100.0", "0.33"],
        ["2", "150.0", "0.50"],
        ["needed for 300.0 images/s: 3", "300.0", ""],
    ]


def test_from_the_command_line(mixbench, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_numbers", lambda: [1])
    how = ("dataset=folder", f"dataset.path={folder(workplace / 'set')}", "batch_size=6", "model=small_cnn")
    crops = ("dataset.size=8", "dataset.crop_area=[0.5,1]", "dataset.crop_padding=0", "precision=float32")
    fast = ("--seconds", "0.01", "--rounds", "2")
    done = mixbench("bench", *how, *crops, "--loading", *fast, "--", "Mixup")
    assert done.status == 0, done.err
    assert "Reading pictures, beside steps of Mixup" in done.out
    assert json.loads((workplace / "outputs/bench/loading.json").read_text())
    done = mixbench("bench", "dataset=digits", "model=small_cnn", "--loading", *fast)
    assert done.status == 2
    assert "dataset=digits: is not read from pictures" in done.err
