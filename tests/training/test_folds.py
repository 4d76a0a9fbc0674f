"""Cross-validation on graphs, all folds at once, against a plain loop over one network at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_graphs import random_graphs
from torch import Tensor, nn

from mixbench.data.graphs import Graphs
from mixbench.losses import cross_entropy, one_hot
from mixbench.models.gin import GIN
from mixbench.regularize import MixupE
from mixbench.training.folds import Candidate, draw, initial, train_folds

D, K = 4, 2


@pytest.fixture(scope="module")
def graphs() -> Graphs:
    """30 random graphs of 2 to 9 nodes, and two folds."""
    pytest.importorskip("torch_geometric")
    return random_graphs(30, 0, features=D, classes=K, least=2, share=0.4, folds=2)


class Readout(nn.Module):
    """The second half of a GIN, whose dropout is given from outside."""

    def __init__(self, net: GIN, keep: Tensor) -> None:
        super().__init__()
        self.net, self.keep = net, list(keep)

    def forward(self, readout: Tensor) -> Tensor:
        parts = readout.split([head.in_features for head in self.net.heads], dim=1)
        scores = torch.stack([head(p) for head, p in zip(self.net.heads, parts, strict=True)], dim=1)
        return (scores * self.keep.pop(0)[: len(readout)]).sum(1)


def batch_of(graphs: Graphs, chosen: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    x, edges, of, offset = [], [], [], 0
    for number, g in enumerate(chosen):
        a, b = graphs.nodes[g : g + 2]
        e, f = graphs.edges[g : g + 2]
        x.append(torch.eye(D)[graphs.features[a:b]])
        edges.append(torch.from_numpy(np.stack([graphs.source[e:f], graphs.target[e:f]]) + offset))
        of += [number] * (b - a)
        offset += b - a
    return torch.cat(x), torch.cat(edges, dim=1), torch.tensor(of)


def one_by_one(
    graphs: Graphs, c: Candidate, epochs: int, epoch: str, size: int
) -> tuple[list[float], list[float]]:
    """A plain loop: PyTorch Geometric, torch's BatchNorm and Adam, mixing and MixupE's objective of the image runs."""
    net = GIN(D, K, width=6, dropout=0.5)
    net.load_state_dict(initial(graphs, c, 6, 0.5), strict=False)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    from mixbench.data.order import derived_seed

    generator = torch.Generator().manual_seed(derived_seed("graphs", c.seed, c.fold))
    errors, losses = [], []
    for number in range(1, epochs + 1):
        optimizer.param_groups[0]["lr"] = 0.01 * 0.5 ** (number // 2)
        drawn = draw(generator, graphs.folds[c.fold].train, c.alpha, epoch, size, (5, K), 0.5)
        net.train()
        of_epoch = []
        for t, row in enumerate(drawn.chosen.tolist()):
            chosen = [g for g in row if g >= 0]
            labels = torch.from_numpy(graphs.labels[chosen])
            readout = net.encode(*batch_of(graphs, chosen))
            partners, lam = drawn.partners[t, : len(chosen)], drawn.ratio[t]
            x = lam * readout + (1 - lam) * readout[partners]
            y = lam * one_hot(labels, K) + (1 - lam) * one_hot(labels, K)[partners]
            head = Readout(net, drawn.keep[:, t])
            if c.eta:
                mixupe = MixupE(
                    eta=c.eta,
                    alpha=c.alpha,
                    variant="paper",
                    samples="original",
                    forward="separate",
                    rescale=True,
                )
                total, logits = mixupe(head, x, y, readout, labels, cross_entropy)
            else:
                logits = head(x)
                total = cross_entropy(logits, y)
            of_epoch.append(cross_entropy(logits, y).mean().item())
            optimizer.zero_grad()
            total.mean().backward()
            optimizer.step()
        net.eval()
        test = graphs.folds[c.fold].test
        with torch.no_grad():
            wrong = net(*batch_of(graphs, test.tolist())).argmax(1).numpy() != graphs.labels[test]
        errors.append(100 * wrong.mean())
        losses.append(float(np.mean(of_epoch)))
    return errors, losses


@pytest.mark.parametrize("epoch", ["pass", "50 batches"])
def test_folds_together_are_each_alone(graphs: Graphs, epoch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the plain loop, with the partial last batch of a pass, Mixup, and MixupE of `regularize`."""
    candidates = [
        Candidate(0), Candidate(1), Candidate(1, seed=3), Candidate(0, alpha=0.5), Candidate(1, alpha=2.0, eta=0.5)
    ]  # fmt: skip
    epochs = 4 if epoch == "pass" else 1
    ours = train_folds(graphs, candidates, epochs=epochs, epoch=epoch, batch_size=8, width=6, halve_every=2)
    for m, candidate in enumerate(candidates):
        errors, losses = one_by_one(graphs, candidate, epochs, epoch, 8)
        np.testing.assert_allclose(ours.train_loss[:, m], losses, rtol=2e-3)
        np.testing.assert_allclose(ours.test_error[:, m], errors, atol=1e-6)


def test_company_changes_nothing(graphs: Graphs) -> None:
    """Limiting case: a candidate trained alone has the numbers that it has among others."""
    among = train_folds(
        graphs,
        [Candidate(0), Candidate(1, alpha=1.0, eta=0.1), Candidate(1)],
        epochs=3,
        epoch="pass",
        width=6,
    )
    alone = train_folds(graphs, [Candidate(1, alpha=1.0, eta=0.1)], epochs=3, epoch="pass", width=6)
    np.testing.assert_allclose(alone.train_loss[:, 0], among.train_loss[:, 1], rtol=1e-4)
    np.testing.assert_array_equal(alone.test_error[:, 0], among.test_error[:, 1])


@pytest.mark.parametrize("epoch", ["pass", "50 batches"])
def test_batches_and_partners(epoch: str) -> None:
    """By definition: a pass has every graph once; each batch has no graph twice, and partners permute those given."""
    train = np.arange(5, 75)
    drawn = draw(torch.Generator().manual_seed(0), train, 1.0, epoch, 32, (5, 2), 0.25)
    given = drawn.chosen >= 0
    assert drawn.chosen.shape == ((3 if epoch == "pass" else 50), 32)
    if epoch == "pass":
        assert sorted(drawn.chosen[given].tolist()) == train.tolist()
    for row, there, partners in zip(drawn.chosen, given, drawn.partners, strict=True):
        k = int(there.sum())
        assert there[:k].all()
        assert len(set(row[:k].tolist())) == k
        assert sorted(partners[:k].tolist()) == list(range(k))
    assert set(drawn.keep.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
