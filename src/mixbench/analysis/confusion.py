"""Which class is taken for which, and what follows from it for each class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from mixbench.seams import Examples, Network


def confusion(network: Network, examples: Examples) -> dict[str, Any]:
    """`matrix[i][j]`: how many examples of class i are taken for class j; and the names of the classes."""
    return {"classes": list(network.class_names), "matrix": _matrix(network, examples).tolist()}


def per_class(network: Network, examples: Examples) -> dict[str, Any]:
    """For each class, in the order of the labels: its name, its examples (`n`), and in percent `recall` (how many of
    them are found: the accuracy on the class), `precision` (how many of those taken for it are it) and `f1`, their
    harmonic mean. NaN where there is nothing to divide by.
    """
    matrix = _matrix(network, examples).double()
    right, n, taken = matrix.diag(), matrix.sum(1), matrix.sum(0)
    columns = {"recall": right / n, "precision": right / taken, "f1": 2 * right / (n + taken)}
    return {
        "classes": [
            {
                "class": name,
                "n": int(n[i]),
                **{key: 100 * column[i].item() for key, column in columns.items()},
            }
            for i, name in enumerate(network.class_names)
        ]
    }


def _matrix(network: Network, examples: Examples) -> Tensor:
    """(K, K) int64 on the CPU: rows are the true classes."""
    classes = len(network.class_names)
    total = torch.zeros(classes, classes, dtype=torch.int64)
    for logits, labels in network.logits(examples):
        total += multiclass_confusion_matrix(logits.argmax(1), labels, classes).cpu()
    return total
