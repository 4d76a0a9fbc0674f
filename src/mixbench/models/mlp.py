"""A multi-layer perceptron for rows of a table."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def mlp(in_features: int, num_classes: int, width: int = 128, depth: int = 2) -> nn.Sequential:
    """Hidden layers of ReLU units: (B, in_features) -> logits (B, num_classes).

    `depth` layers of `width` units, the children stage1, stage2, ... (Manifold Mixup mixes after them), and head. The
    initial weights are torch's own. Zou et al. (2023), section 4.2: two of 128.
    """
    sides = [in_features, *[width] * depth]
    stages = {
        f"stage{i + 1}": nn.Sequential(nn.Linear(sides[i], sides[i + 1]), nn.ReLU()) for i in range(depth)
    }
    return nn.Sequential(OrderedDict(**stages, head=nn.Linear(sides[-1], num_classes)))
