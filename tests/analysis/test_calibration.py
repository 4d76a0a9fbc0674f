"""Calibration, against torchmetrics, scikit-learn, and networks whose calibration is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from logits import Logits
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from mixbench.analysis.calibration import calibration

Drawn = tuple[torch.Tensor, torch.Tensor]


def drawn(seed: int, n: int, classes: int) -> Drawn:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, classes, generator=generator)
    return logits, torch.randint(0, classes, (n,), generator=generator)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 200), st.integers(2, 6), st.integers(1, 20))
@example(seed=2605, n=1, classes=2, bins=1)
def test_against_libraries(seed: int, n: int, classes: int, bins: int) -> None:
    """Oracle: torchmetrics' ECE; scikit-learn's log loss and Brier score, in batches of one to four examples."""
    # Here, as its import takes two seconds of every process that collects tests.
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits, labels = drawn(seed, n, classes)
    found = calibration(Logits(logits, labels), labels, bins=bins)
    probabilities = logits.double().softmax(
        1
    )  # torchmetrics takes logits that all lie in [0, 1] for probabilities
    expected = multiclass_calibration_error(probabilities, labels, classes, n_bins=bins)
    assert found["ece"] == pytest.approx(100 * expected.item(), abs=1e-3)
    p = probabilities.numpy()
    assert found["nll"] == pytest.approx(log_loss(labels, p, labels=range(classes)))
    assert found["brier"] == pytest.approx(
        brier_score_loss(labels, p, labels=range(classes), scale_by_half=False)
    )


@pytest.mark.parametrize(("key", "strategy"), [("equal_width", "uniform"), ("equal_count", "quantile")])
def test_diagrams_against_scikit_learn(key: str, strategy: str) -> None:
    """Oracle: scikit-learn's calibration_curve of "the prediction is right"; 12 bins, 600 examples."""
    logits, labels = drawn(1, 600, 4)
    confidence, predicted = logits.double().softmax(1).max(1)
    share, mean = calibration_curve(predicted == labels, confidence, n_bins=12, strategy=strategy)
    found = calibration(Logits(logits, labels), labels, bins=12)[key]
    np.testing.assert_allclose([entry["acc"] for entry in found], 100 * share, rtol=1e-9)
    np.testing.assert_allclose([entry["confidence"] for entry in found], 100 * mean, rtol=1e-6)
    assert sum(entry["n"] for entry in found) == 600


def test_right_as_often_as_sure() -> None:
    """Limiting case: 50 examples at each of four confidences, of which just that share is right: both errors are 0."""
    labels, rows = [], []
    for share in (0.52, 0.64, 0.78, 0.9):
        rows += [[math.log(share), math.log(1 - share)]] * 50
        labels += [0] * round(50 * share) + [1] * round(50 * (1 - share))
    found = calibration(Logits(torch.tensor(rows), torch.tensor(labels)), None, bins=15)
    assert found["ece"] == pytest.approx(0, abs=1e-4)
    by_four = calibration(Logits(torch.tensor(rows), torch.tensor(labels)), None, bins=4)
    assert by_four["adaptive_ece"] == pytest.approx(0, abs=1e-4)
    assert [entry["n"] for entry in by_four["equal_count"]] == [50] * 4


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 10), st.floats(0.01, 0.99), st.integers(1, 60), st.integers(1, 40))
def test_constant_predictions(classes: int, rest: float, right: int, wrong: int) -> None:
    """Closed form, for p on class 0 and (1 - p) / (K - 1) on each other: both errors are |accuracy - p|; the likelihood
    and Brier's score are means of two values.
    """
    p = 1 / classes + rest * (1 - 1 / classes)
    q, n = (1 - p) / (classes - 1), right + wrong
    logits = torch.tensor([[p] + [q] * (classes - 1)], dtype=torch.float64).log().expand(n, -1)
    labels = torch.tensor([0] * right + [1] * wrong)
    found = calibration(Logits(logits, labels), labels, bins=15)
    assert found["ece"] == pytest.approx(100 * abs(right / n - p), abs=1e-6)
    if n % 15 == 0 or n < 15:  # else two bins of equal count may hold different shares
        assert found["adaptive_ece"] >= found["ece"] - 1e-6
    assert found["nll"] == pytest.approx(-(right * math.log(p) + wrong * math.log(q)) / n)
    squares = [(1 - p) ** 2 + (classes - 1) * q**2, p**2 + (1 - q) ** 2 + (classes - 2) * q**2]
    assert found["brier"] == pytest.approx((right * squares[0] + wrong * squares[1]) / n)
    one = calibration(Logits(logits, labels), labels, bins=1)
    assert one["adaptive_ece"] == pytest.approx(one["ece"])


def test_a_confidence_of_one_is_in_the_last_bin() -> None:
    """Limiting case: probabilities of exactly 1, all right: no error, one bin."""
    logits = torch.tensor([[200.0, -200.0]] * 3)
    found = calibration(Logits(logits, torch.zeros(3, dtype=torch.int64)), None, bins=10)
    assert (found["ece"], found["brier"]) == (0, 0)
    assert found["equal_width"] == [{"bin": 9, "n": 3, "confidence": 100, "acc": 100}]
