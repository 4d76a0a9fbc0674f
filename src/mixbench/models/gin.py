"""The graph isomorphism network (Xu, Hu, Leskovec, Jegelka, How Powerful are Graph Neural Networks?, ICLR 2019)."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from mixbench.errors import ConfigError


class GIN(nn.Module):
    """GIN-0 with sums: node features (N, in_features) of a batch of graphs -> logits (B, num_classes).

    As in its authors' code (weihua916/powerful-gnns): `layers` representations, the input's included, so one
    convolution less; in each epsilon is 0 and the perceptron is linear, BatchNorm, ReLU, linear, and BatchNorm and ReLU
    follow. The linear maps have no biases, which the BatchNorm behind them would take out again. The readout is the sum
    over the nodes of every representation, the prediction the sum of a linear map of each, with dropout on its scores.

    `encode` and `read` are the two halves: what is between them, the readout, is one tensor with the graphs on its
    first axis, where examples are mixed.

    Raises ConfigError where PyTorch Geometric is missing.
    """

    def __init__(
        self, in_features: int, num_classes: int, *, width: int = 32, layers: int = 5, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.in_features = in_features
        GINConv, self.pool = _geometric()
        self.convs, self.norms, sides = nn.ModuleList(), nn.ModuleList(), [in_features]
        for _ in range(layers - 1):
            perceptron = nn.Sequential(
                nn.Linear(sides[-1], width, bias=False),
                nn.BatchNorm1d(width),
                nn.ReLU(),
                nn.Linear(width, width, bias=False),
            )
            self.convs.append(GINConv(perceptron, eps=0.0, train_eps=False))
            self.norms.append(nn.BatchNorm1d(width))
            sides.append(width)
        self.heads = nn.ModuleList(nn.Linear(side, num_classes) for side in sides)
        self.dropout = nn.Dropout(dropout)

    def encode(self, x: Tensor, edge_index: Tensor, batch: Tensor, size: int | None = None) -> Tensor:
        """The readout (B, in_features + (layers - 1) width), the representations side by side.

        `edge_index` int64 (2, E) and `batch` int64 (N,), the graph of each node, as torch_geometric's Batch has them.
        """
        pooled = [self.pool(x, batch, size)]
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = norm(conv(x, edge_index)).relu()
            pooled.append(self.pool(x, batch, size))
        return torch.cat(pooled, dim=1)

    def read(self, readout: Tensor) -> Tensor:
        """Logits (B, K) of a readout."""
        parts = readout.split([head.in_features for head in self.heads], dim=1)
        return torch.stack(
            [self.dropout(head(part)) for head, part in zip(self.heads, parts, strict=True)]
        ).sum(0)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        return self.read(self.encode(x, edge_index, batch))

    def parameters_of_one(self) -> dict[str, Tensor]:
        """What `StackedGIN` stacks: the weights, running means and variances by name."""
        return {
            name: value
            for name, value in self.state_dict().items()
            if value.is_floating_point() and "eps" not in name
        }


def _geometric() -> tuple[Any, Any]:
    """GINConv and the sum pooling of PyTorch Geometric."""
    try:
        with warnings.catch_warnings():  # of torch, about what it will do away with
            warnings.simplefilter("ignore", FutureWarning)
            from torch_geometric.nn import GINConv, global_add_pool
    except ImportError as error:
        raise ConfigError(
            f"model=gin: needs PyTorch Geometric ({error}); `pip install 'mixbench[graphs]'` installs it."
        ) from None
    return GINConv, global_add_pool
