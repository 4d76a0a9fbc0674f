"""The cells that fit in the time that is left, and how long they take."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixbench.bench.estimate import AT_BEST, FORWARD, seconds_at
from mixbench.bench.fitting import START, Cell, cells, fitting, rates
from mixbench.papers.cells import plan
from mixbench.papers.library import load
from mixbench.record.run import SavedRun

SEEDS = 2


@st.composite
def columns(draw: st.DrawFn) -> list[Cell]:
    """Cells of up to four rows, each with the same time for both seeds; some are done already, in any order."""
    found = [
        Cell(row, seed, draw(st.shared(st.integers(1, 30), key=row)) * 1.0)
        for row in draw(st.sets(st.sampled_from("abcd")))
        for seed in range(draw(st.integers(0, 1)), SEEDS)
    ]
    return draw(st.permutations(found))


@given(columns(), st.floats(0, 200))
def test_as_many_cells_as_fit_seed_by_seed(waiting: list[Cell], seconds: float) -> None:
    """Oracle: all subsets that fit. None has more cells of the first seed, or as many and more of the second, and of
    those with as many none is shorter.
    """
    chosen = fitting(waiting, seconds)
    assert set(chosen) <= set(waiting)
    assert len(set(chosen)) == len(chosen)
    subsets = itertools.chain.from_iterable(
        itertools.combinations(waiting, n) for n in range(len(waiting) + 1)
    )
    assert merit(chosen) == max(merit(s) for s in subsets if sum(c.seconds for c in s) <= seconds)


def merit(subset: Sequence[Cell]) -> tuple[float, ...]:
    """Greater is better."""
    of = Counter(cell.seed for cell in subset)
    return (
        *(n for seed in range(SEEDS) for n in (of[seed], -sum(c.seconds for c in subset if c.seed == seed))),
    )


@given(columns(), st.floats(0, 200))
def test_a_seed_is_never_without_the_one_before(waiting: list[Cell], seconds: float) -> None:
    """`mixbench table --seeds N` trains seeds 0 to N-1: what a cell brings with it comes before it."""
    chosen = fitting(waiting, seconds)
    for n, cell in enumerate(chosen):
        earlier = [c for c in waiting if c.row == cell.row and c.seed < cell.seed]
        assert set(earlier) <= set(chosen[:n])


def test_what_a_cell_takes(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: 200 epochs of 50,000 images at the method's rate, and the forward of 10,000 test images and, where test
    accuracy is best, of all training images twice, at the rate of plain training; half of it when half is done. A
    finished run takes nothing, and what it took, beside others, says nothing of the rest.
    """
    extra = ["train_clean_every=at_best", "train_mixed_every=at_best"]
    runs = plan(load("li2023/table2"), columns=["CIFAR-100, WRN-16-4"], seeds=1, extra=extra)
    found = {cell.row: cell.seconds - START for cell in cells(runs, {"ERM": 100.0, "SAM": 50.0})}
    looks = (10_000 + 2 * AT_BEST * 50_000) * FORWARD / 100
    vanilla, sam = 200 * (500 + looks), 200 * (1000 + looks)
    assert found == pytest.approx({"Vanilla": vanilla, "SAM": sam})

    def with_record(run, **record):
        saved = SavedRun(run.directory)
        saved.__dict__.update({"summary": record, "_rows": [{}] * 100})
        return dataclasses.replace(run, saved=saved)

    half = with_record(runs[0], state="interrupted")
    assert cells([half], {"ERM": 100.0})[0].seconds - START == pytest.approx(vanilla / 2)
    slow = with_record(runs[0], state="finished", train_seconds=2 * vanilla - 7, eval_seconds=7.0)
    (rest,) = cells([slow, runs[1]], {"ERM": 100.0, "SAM": 50.0})
    assert (rest.row, rest.seconds - START) == ("SAM", pytest.approx(sam))


@pytest.mark.parametrize(("every", "share"), [(0, 0.0), (1, 1.0), (4, 0.25), ("at_best", AT_BEST)])
def test_the_share_of_epochs_that_are_measured(every: int | str, share: float) -> None:
    """By hand, at one image a second: 50,000 trained, a third of 10,000 test images and of the share looked at."""
    config = plan(load("li2023/table2"), columns=["CIFAR-100, WRN-16-4"], seeds=1)[0].config
    config.train_clean_every, config.train_mixed_every = 0, every
    assert seconds_at(config, 1, 1.0, 1.0) == pytest.approx(50_000 + FORWARD * (10_000 + share * 50_000))


def test_rates_are_the_benchmarks(tmp_path: Path) -> None:
    """Read from the file that `mixbench bench` writes, whatever else is in it; none without one."""
    path = tmp_path / "methods.csv"
    assert rates(path) == {}
    path.write_text('name,images_per_second,ms\nERM,46000.5,2.8\n"BG-Mix, subset",20000,6\n')
    assert rates(path) == {"ERM": 46000.5, "BG-Mix, subset": 20000.0}
