"""Graphs as rows of numbers, against torch_geometric's own batches and the two halves of a GIN."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_graphs import random_graphs
from torch import Tensor

from mixbench.data.gin_text import Graphs
from mixbench.data.packed import GraphSet, packed
from mixbench.models.gin import GIN
from mixbench.models.packed import Packed, blended

D, K = 5, 3
geometric = pytest.importorskip("torch_geometric.data")


def some_graphs(count: int, seed: int) -> Graphs:
    """Of 1 to 9 nodes, some of them without an edge."""
    return random_graphs(count, seed, features=D, classes=K, least=1, share=0.3)


def batch_of(graphs: Graphs, chosen: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """The graphs as torch_geometric batches them."""
    items = []
    for g in chosen:
        own = slice(*graphs.edges[g : g + 2])
        ends = torch.from_numpy(np.stack([graphs.source[own], graphs.target[own]]))
        x = torch.eye(D)[graphs.features[slice(*graphs.nodes[g : g + 2])]]
        items.append(geometric.Data(x=x, edge_index=ends))
    batch = geometric.Batch.from_data_list(items)
    return batch.x, batch.edge_index, batch.batch


def pair() -> tuple[Packed, GIN]:
    torch.manual_seed(1)
    net = GIN(D, K, width=6, dropout=0.0).double()
    return Packed(net), copy.deepcopy(net)


def inputs_of(graphs: Graphs, chosen: list[int]) -> Tensor:
    made = GraphSet(packed(graphs), graphs.labels)
    return made.batch((torch.tensor(chosen),), None)[0].double()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(2, 12), training=st.booleans())
def test_packed_graphs_give_what_geometric_batches_give(seed: int, count: int, training: bool) -> None:
    """Oracle: GIN on torch_geometric's Batch, in both modes, graphs in any order."""
    graphs = some_graphs(count + 5, seed)
    chosen = np.random.default_rng(seed).permutation(len(graphs))[:count].tolist()
    ours, theirs = (net.train(training) for net in pair())
    found, expected = ours(inputs_of(graphs, chosen)), theirs(*batch_of(graphs, chosen))
    assert torch.allclose(found, expected, atol=1e-9)
    for name, buffer in theirs.named_buffers():
        assert torch.allclose(buffer.double(), ours.net.get_buffer(name).double(), atol=1e-9)


def test_mixed_graphs_are_mixed_at_the_readout() -> None:
    """Oracle: the halves of the network, lerp in between; losses, gradients and running statistics.

    Both together with the batch that is not mixed (regularizer.forward=batched) too: a graph is encoded once.
    """
    graphs, chosen = some_graphs(9, 3), [4, 2, 8, 0, 5]
    partners, weight = torch.tensor([1, 0, 2, 4, 3]), torch.rand(5, dtype=torch.float64)
    inputs = inputs_of(graphs, chosen)
    mixed = blended(inputs, weight[:, None, None], partners)
    assert mixed.shape == inputs.shape
    ours, theirs = pair()
    readout = theirs.encode(*batch_of(graphs, chosen))
    expected = theirs.read(torch.lerp(readout[partners], readout, weight[:, None]))
    both = ours(torch.cat([mixed, inputs]))
    assert torch.allclose(both[:5], expected, atol=1e-9)
    assert torch.allclose(both[5:], theirs.read(readout), atol=1e-9)
    for name, buffer in theirs.named_buffers():
        assert torch.allclose(buffer.double(), ours.net.get_buffer(name).double(), atol=1e-9)
    both[:5].square().sum().backward()
    expected.square().sum().backward()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_ends_of_a_mix_are_the_two_graphs(weight: float) -> None:
    """Limiting cases: weight 1 is the own graph, 0 the partner."""
    graphs, partners = some_graphs(6, 5), torch.tensor([3, 4, 5, 0, 1, 2])
    inputs = inputs_of(graphs, list(range(6)))
    net = pair()[0].eval()
    mixed = blended(inputs, torch.full((1, 1, 1), weight), partners)
    assert torch.equal(net(mixed), net(inputs if weight else inputs[partners]))
