"""Label maps on a grid. Oracles: brute force, exact minimum cuts, chains (where messages are exact), limits."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from maxflow import exact_labels
from probes import NoHostSync
from torch import Tensor

from mixbench.augment.gridcut import energy, graph_cut, tree_reweighted


def random_problem(
    batch: int, height: int, width: int, count: int, smooth: float, seed: int
) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    unary = uniform(batch, height, width, count)
    return unary, smooth * uniform(batch, height - 1, width), smooth * uniform(batch, height, width - 1)


def brute_force(unary: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """(B,) minimal energies over all label maps."""
    _, height, width, count = unary.shape
    maps = torch.tensor(list(itertools.product(range(count), repeat=height * width))).view(-1, height, width)
    repeat = len(maps)
    return torch.stack(
        [
            energy(
                maps, *(t[i : i + 1].expand(repeat, *t.shape[1:]) for t in (unary, vertical, horizontal))
            ).min()
            for i in range(len(unary))
        ]
    )


def test_energy_is_its_definition() -> None:
    """Cell by cell and edge by edge, in Python."""
    unary, vertical, horizontal = random_problem(1, 3, 4, 3, 1.0, seed=0)
    labels = torch.randint(3, (1, 3, 4), generator=torch.Generator().manual_seed(1))
    t = [[labels[0, r, c].item() / 2 for c in range(4)] for r in range(3)]
    expected = 0.0
    for r in range(3):
        for c in range(4):
            expected += unary[0, r, c, labels[0, r, c]].item()
            if r < 2:
                expected += vertical[0, r, c].item() * (t[r][c] - t[r + 1][c]) ** 2
            if c < 3:
                expected += horizontal[0, r, c].item() * (t[r][c] - t[r][c + 1]) ** 2
    assert energy(labels, unary, vertical, horizontal).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("height", "width", "count"), [(2, 2, 2), (2, 2, 4), (2, 3, 3), (3, 3, 2), (3, 3, 3)]
)
@pytest.mark.parametrize("smooth", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("solver", ["torch", "gco"])
def test_small_grids_against_brute_force(
    height: int, width: int, count: int, smooth: float, solver: str
) -> None:
    """Never below the minimum; message passing reaches it in 98 % of 60 random problems and is 0.05 % above it
    on average, the swap moves of the graph cut in 80 % and 3 %."""
    if solver == "gco":
        pytest.importorskip("gco")
    problem = random_problem(60, height, width, count, smooth, seed=count)
    best = brute_force(*problem)
    found = energy((tree_reweighted if solver == "torch" else graph_cut)(*problem), *problem)
    assert (found >= best - 1e-9).all()
    # The graph cut works on costs rounded to 1e-5.
    assert (found <= best + 1e-3).double().mean() >= (0.98 if solver == "torch" else 0.8)
    assert ((found - best) / best).mean() < (0.0005 if solver == "torch" else 0.03)


@settings(deadline=None, max_examples=30)
@given(
    length=st.integers(2, 8),
    count=st.integers(2, 3),
    upright=st.booleans(),
    smooth=st.floats(0, 10),
    seed=st.integers(0, 1000),
)
def test_chains_are_exact(length: int, count: int, upright: bool, smooth: float, seed: int) -> None:
    """Without loops, message passing is dynamic programming: the brute-force minimum, in a row and in a column."""
    shape = (length, 1) if upright else (1, length)
    problem = random_problem(3, *shape, count, smooth, seed)
    assert torch.allclose(energy(tree_reweighted(*problem), *problem), brute_force(*problem))


@settings(deadline=None, max_examples=20)
@given(height=st.integers(1, 6), width=st.integers(1, 6), count=st.integers(2, 4), seed=st.integers(0, 1000))
def test_limits_of_the_smoothness(height: int, width: int, count: int, seed: int) -> None:
    """Weight 0: every cell its cheapest label. Overwhelming weight: the cheapest uniform map."""
    unary, vertical, horizontal = random_problem(2, height, width, count, 1.0, seed)
    assert torch.equal(tree_reweighted(unary, 0 * vertical, 0 * horizontal), unary.argmin(-1))
    labels = tree_reweighted(unary, 1e4 + vertical, 1e4 + horizontal, rounds=60)
    if height == 1 or width == 1:
        assert torch.equal(labels, unary.sum((1, 2)).argmin(-1)[:, None, None].expand_as(labels))


def test_exact_solver_is_exact() -> None:
    """The oracle of the tests on images against brute force, on 3x3 cells."""
    for count in (2, 3):
        problem = random_problem(20, 3, 3, count, 1.0, seed=5)
        assert torch.allclose(energy(exact_labels(*problem), *problem), brute_force(*problem), atol=1e-6)


def test_large_grids_against_minimum_cuts() -> None:
    """16x16 cells, three labels, smoothness comparable to the unary costs: less than 0.2 % above the
    exact minimum on average, 1 % at worst, of 10 random problems."""
    problem = random_problem(10, 16, 16, 3, 1.0, seed=6)
    best = energy(exact_labels(*problem), *problem)
    excess = energy(tree_reweighted(*problem), *problem) / best - 1
    assert (excess > -1e-6).all()
    assert excess.mean() < 0.002
    assert excess.max() < 0.01


def test_nothing_waits_for_the_device() -> None:
    """No value is read back to the host."""
    problem = random_problem(2, 4, 4, 3, 1.0, seed=0)
    with NoHostSync():
        tree_reweighted(*problem)
