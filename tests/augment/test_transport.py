"""Moving blocks to where a mask shows them. Oracles: the algorithm in plain Python, its guarantees, a case by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from probes import NoHostSync
from torch import Tensor

from mixbench.augment.transport import arrange, masked_transport


def random_case(side: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    saliency = torch.rand(3, side, side, generator=generator, dtype=torch.float64) ** 3
    visible = torch.rand(3, side, side, generator=generator) < 0.4
    return saliency / saliency.sum((1, 2), keepdim=True), visible


def squared_distance(side: int, i: int, j: int) -> float:
    return ((i // side - j // side) ** 2 + (i % side - j % side) ** 2) / (side - 1) ** 2


def in_plain_python(saliency: Tensor, visible: Tensor, eps: float) -> list[int]:
    """One image, loops over blocks and positions."""
    side = len(saliency)
    s, z = saliency.flatten().tolist(), visible.flatten().tolist()
    count = side * side
    cost = [[eps * squared_distance(side, i, j) - s[i] * z[j] for j in range(count)] for i in range(count)]
    content: dict[int, int] = {}
    for _ in range(side):
        wanted = [min(range(count), key=lambda j: cost[i][j]) for i in range(count)]
        content = {}
        for i, j in enumerate(wanted):
            if j not in content or cost[i][j] < cost[content[j]][j]:
                content[j] = i
        for i, j in enumerate(wanted):
            if content[j] != i:
                cost[i][j] += 1
    return [content.get(j, j) for j in range(count)]


@settings(deadline=None, max_examples=30)
@given(side=st.integers(2, 5), eps=st.sampled_from([0.01, 0.1, 0.8, 5.0]), seed=st.integers(0, 1000))
def test_equals_the_algorithm_in_plain_python(side: int, eps: float, seed: int) -> None:
    """Oracle: the masked transport of the paper, one block after the other."""
    saliency, visible = random_case(side, seed)
    blocks = masked_transport(saliency, visible, eps)
    for result, s, z in zip(blocks, saliency, visible, strict=True):
        assert result.tolist() == in_plain_python(s, z, eps)


@settings(deadline=None, max_examples=60)
@given(side=st.integers(2, 8), eps=st.floats(0.001, 3), seed=st.integers(0, 1000))
def test_no_visible_position_loses(side: int, eps: float, seed: int) -> None:
    """What lies at a visible position is worth at least its own block there, the way it came deducted; and no
    block is shown twice."""
    saliency, visible = random_case(side, seed)
    for blocks, s, z in zip(masked_transport(saliency, visible, eps), saliency, visible, strict=True):
        shown = [(int(blocks[j]), j) for j in range(side * side) if z.flatten()[j]]
        for i, j in shown:
            worth = s.flatten()[i] - eps * squared_distance(side, i, j)
            assert worth >= s.flatten()[j] - 1e-9
        assert len({i for i, _ in shown}) == len(shown)


def test_by_hand() -> None:
    """2x2 blocks of saliency 0.1, 0.2, 0.3, 0.4, of which the mask shows only the first position. At eps = 0.05
    the last block, at squared distance 2, is worth 0.4 - 0.1 = 0.3 there, more than 0.3 - 0.05 and 0.2 - 0.05;
    at eps = 0.15 the third wins with 0.15; at eps = 0.25 the first keeps its place."""
    saliency = torch.tensor([[[0.1, 0.2], [0.3, 0.4]]])
    visible = torch.tensor([[[True, False], [False, False]]])
    for eps, first in ((0.05, 3), (0.15, 2), (0.25, 0)):
        blocks = masked_transport(saliency, visible, eps)
        assert blocks[0].tolist() == [first, 1, 2, 3]


@pytest.mark.parametrize(("shown", "eps"), [(True, 0.1), (False, 0.1), (None, 10.0)])
def test_nothing_moves_when_all_or_nothing_shows_or_moving_is_dear(shown: bool | None, eps: float) -> None:
    """Limits: a mask of ones or zeros, and a high price."""
    saliency, visible = random_case(6, seed=1)
    visible = visible if shown is None else torch.full_like(visible, shown)
    assert torch.equal(masked_transport(saliency, visible, eps), torch.arange(36).expand(3, 36))


@pytest.mark.parametrize(("height", "width", "side"), [(8, 8, 4), (6, 9, 3), (4, 4, 1)])
def test_arrange_copies_blocks(height: int, width: int, side: int) -> None:
    """Oracle: slices, one block at a time; sides of any proportion."""
    images = torch.rand(2, 3, height, width)
    blocks = torch.stack([torch.randperm(side * side), torch.randint(side * side, (side * side,))])
    moved = arrange(images, blocks)
    h, w = height // side, width // side
    for b in range(2):
        for j, i in enumerate(blocks[b].tolist()):
            here = moved[b, :, j // side * h : (j // side + 1) * h, j % side * w : (j % side + 1) * w]
            there = images[b, :, i // side * h : (i // side + 1) * h, i % side * w : (i % side + 1) * w]
            assert torch.equal(here, there)


def test_nothing_waits_for_the_device() -> None:
    """No value is read back to the host."""
    saliency, visible = random_case(4, seed=0)
    with NoHostSync():
        arrange(torch.rand(3, 3, 8, 8), masked_transport(saliency, visible, 0.1))
