from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from mixbench import data
from mixbench.data import Split
from mixbench.data.kinds import KINDS, called, kind
from mixbench.errors import DataError
from mixbench.schema.examples import Dataset
from mixbench.schema.graphs import GRAPHS, as_fold
from mixbench.schema.specs import SPECS
from mixbench.schema.speech import SPEECH
from mixbench.schema.tables import TABLES


@pytest.fixture
def rows() -> Split:
    generator = np.random.default_rng(0)
    numbers = generator.normal(1e5, 3.0, (40, 3))
    numbers[:, 1] = 7.0
    return Split(
        np.column_stack([numbers, generator.integers(0, 2, 40)]).astype(np.float32),
        generator.integers(0, 3, 40),
    )


def test_rows_are_standardised_as_by_scikit_learn_but_for_columns_of_0_and_1(rows: Split) -> None:
    """Against StandardScaler in float64; a constant column becomes zero, a one-hot one stays."""
    mean, std = kind("row").normalisation(Dataset("rows"), rows)
    made = data.examples(rows, "row", mean=mean, std=std)
    batches = torch.cat([inputs for inputs, _ in made.eval_batches(7)]).numpy()
    expected = StandardScaler().fit_transform(rows.inputs.astype(np.float64))
    assert np.allclose(batches[:, :3], expected[:, :3], atol=1e-6)
    assert np.array_equal(batches[:, 3], rows.inputs[:, 3])
    assert np.allclose(made.mean_input().numpy(), batches.astype(np.float64).mean(0), atol=1e-7)


def test_a_fed_batch_of_rows_is_theirs_with_and_without_a_generator(rows: Split) -> None:
    """Against indexing; rows have no base augmentation."""
    made = data.examples(rows, "row", mean=[0.0] * 4, std=[1.0] * 4)
    order = torch.randperm(40).split(16)
    for fed, indices in zip(made.feed(order, first=1), order[1:], strict=True):
        for generator in (None, torch.Generator()):
            inputs, labels = made.batch(fed, generator)
            assert np.array_equal(inputs, rows.inputs[indices])
            assert np.array_equal(labels, rows.labels[indices])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((2, 3)), r"not \(2, 3\)"),
        ([["a"] * 4], "could not convert"),
        ([[0, 0, 0, 0], [0, 0, np.nan, 0]], "row 1, column 2 is nan"),
    ],
)
def test_rows_that_do_not_fit_a_run_are_named(given: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        kind("row").fitting(given, (4,), "float32", "run 1 takes")


def test_a_single_row_is_a_batch_of_one() -> None:
    assert kind("row").fitting([1, 2, 3, 4], (4,), "float32", "").shape == (1, 4)


def test_inputs_are_called_by_their_kind_but_for_clips() -> None:
    """By hand: spectrograms are images to a network."""
    specs = SPECS["digits"], TABLES["iris"], as_fold(GRAPHS["mutag"]), SPEECH
    assert [called(spec) for spec in specs] == ["images", "rows", "graphs", "clips"]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_has_what_the_seam_asks_for(name: str) -> None:
    """The names in the protocol, of each module."""
    for part in ("NOUN", "normalisation", "blend", "placed", "in_training", "examples", "fitting", "words"):
        assert hasattr(kind(name), part)
