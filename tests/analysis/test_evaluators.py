"""What is measured on finished weights, against the run's own rows, scikit-learn and brute force."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from logits import Logits
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, precision_recall_fscore_support

from mixbench import load_run
from mixbench.analysis.corruptions import COLOURED
from mixbench.analysis.deformations import DEFORMATIONS
from mixbench.analysis.evaluate import evaluations
from mixbench.analysis.evaluators import COLUMNS, EVALUATORS, applicable, changed, evaluator
from mixbench.analysis.source import source
from mixbench.analysis.warp import matrices, warp
from mixbench.errors import ConfigError

TINY = ("epochs=1", "dataset.train_size=200", "dataset.test_size=130", "batch_size=50", "eval_batch_size=40")


def result(directory: Path, name: str, on: str | None = None) -> dict:
    ((evaluation,), _) = evaluations(directory, [name], source(on) if on else None)
    return evaluation["result"]


@pytest.mark.parametrize("part", ["test", "val", "train"])
def test_accuracy_is_that_of_the_last_row(finished: Path, part: str) -> None:
    """Oracle: the row that training wrote, to the last bit; on the training set its clean accuracy."""
    row, found = load_run(finished).rows[-1], result(finished, "accuracy", part)
    if part == "train":
        assert (found["acc"], found["loss"]) == (row["train_acc_clean"], row["train_loss_clean"])
    else:
        assert {key: row[f"{part}_{key}"] for key in ("acc", "top5", "loss")} | {"n": 100} == found


@pytest.mark.parametrize("overrides", [("precision=bf16",), ("ema.decay=0.5", "channels_last=false")])
def test_accuracy_is_that_of_the_last_row_in_every_arithmetic(mixbench, overrides: tuple[str, ...]) -> None:
    """Oracle: the row that training wrote, to the last bit; batches of 40 of 130 images."""
    assert mixbench("train", *TINY, *overrides).status == 0
    (directory,) = (path.parent for path in Path("outputs").rglob("summary.json"))
    row = load_run(directory).rows[-1]
    assert result(directory, "accuracy") == {k: row[f"test_{k}"] for k in ("acc", "top5", "loss")} | {
        "n": 130
    }


def test_a_run_against_scikit_learn(finished: Path) -> None:
    """Oracle: scikit-learn's loss, confusion matrix, precision, recall and F1, from the run's predictions."""
    run = load_run(finished)
    test = run.splits().test
    p = run.predict(test.inputs).double().numpy()
    labels, predicted = test.labels, p.argmax(1)
    assert result(finished, "accuracy")["loss"] == pytest.approx(
        log_loss(labels, p / p.sum(1)[:, None]), abs=1e-5
    )
    found = result(finished, "confusion")
    assert found["classes"] == run.class_names
    np.testing.assert_array_equal(found["matrix"], confusion_matrix(labels, predicted, labels=range(10)))
    classes = result(finished, "per_class")["classes"]
    assert [entry["class"] for entry in classes] == run.class_names
    expected = precision_recall_fscore_support(labels, predicted, labels=range(10), zero_division=np.nan)
    for key, values in zip(("precision", "recall", "f1", "n"), expected, strict=True):
        ours = [math.nan if entry[key] is None else entry[key] for entry in classes]
        np.testing.assert_allclose(ours, values if key == "n" else 100 * values, rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 7), st.integers(1, 25), st.integers(0, 10**6))
def test_counts_against_a_loop(classes: int, n: int, seed: int) -> None:
    """Brute force: counting one example after the other; NaN for a class without examples, or never predicted."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, classes, generator=generator)
    labels = torch.randint(0, classes, (n,), generator=generator)
    network = Logits(logits, labels)
    counts = [[0] * classes for _ in range(classes)]
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        counts[label][row.index(max(row))] += 1
    assert evaluator("confusion")(network, labels)["matrix"] == counts
    for i, entry in enumerate(evaluator("per_class")(network, labels)["classes"]):
        mine, taken = sum(counts[i]), sum(row[i] for row in counts)
        assert entry["n"] == mine
        for key, total in (("recall", mine), ("precision", taken), ("f1", (mine + taken) / 2)):
            expected = 100 * counts[i][i] / total if total else math.nan
            assert entry[key] == pytest.approx(expected, nan_ok=True)
    right = sum(counts[i][i] for i in range(classes))
    found = evaluator("accuracy")(network, labels)
    assert (found["acc"], found["n"]) == (100 * right / n, n)


def test_deformed_images_against_a_loop(finished: Path) -> None:
    """Oracle: scikit-learn's accuracy of a forward on normalised test images that were deformed one by one."""
    run = load_run(finished)
    model, test = run.model(), run.splits().test
    images = next(run.examples(test).eval_batches(1000))[0]
    for name, accuracy in result(finished, "deformations").items():
        each = matrices(name, len(images))
        deformed = torch.cat([warp(images[i : i + 1], each[i : i + 1]) for i in range(len(images))])
        with torch.no_grad():
            predicted = model(deformed).argmax(1)
        assert accuracy == pytest.approx(100 * accuracy_score(test.labels, predicted)), name
    assert result(finished, "deformations").keys() == DEFORMATIONS.keys()


def test_the_registry_says_what_is_measured(finished: Path) -> None:
    """Oracle: the results. Every number that a table may read is one, and evaluators say which inputs they take."""
    quick = changed([
        "robustness.n=8", "robustness.steps=1", "corruptions.n=8", "sharpness.n=8", "sharpness.steps=1",
        "hessian.n=8", "hessian.draws=2", "hessian.tolerance=0.5", "slices.n=8", "slices.points=3", "slices.grid=0",
        "autoattack.n=8", "autoattack.steps=1", "autoattack.queries=2",
    ])  # fmt: skip
    for name, entry in EVALUATORS.items():
        ((evaluation,), _) = evaluations(finished, [name], options=quick)
        found = evaluation["result"]
        grey = [number for number in entry.numbers if number not in COLOURED]  # digits have no colours
        assert all(isinstance(found[number], float) for number in grey), name
    assert "deformations/rotation_20" in COLUMNS
    unasked = ["accuracy", "per_class", "confusion", "calibration"]
    assert applicable("image") == [*unasked, "deformations"]
    assert applicable("row") == unasked
    assert applicable("row", ["hessian"]) == ["hessian"]
    with pytest.raises(ConfigError, match="takes inputs of kind image, not row"):
        applicable("row", ["deformations"])
