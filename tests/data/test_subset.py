"""Stratified subsets: proportions, disjointness, and independence of everything but the labels."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from mixbench.data.subset import quotas, split_off, stratified

label_lists = st.lists(st.integers(0, 6), min_size=1, max_size=80)


@settings(deadline=None, max_examples=200)
@given(labels=label_lists, data=st.data())
def test_classes_keep_their_proportions(labels: list[int], data: st.DataObject) -> None:
    """Oracle: the exact share size * n_c / n in rational numbers; each class gets it rounded down or up."""
    size = data.draw(st.integers(1, len(labels)))
    array = np.array(labels)
    chosen = stratified(array, size)
    assert len(chosen) == size
    assert (np.diff(chosen) > 0).all()
    for label in range(7):
        share = Fraction(size * labels.count(label), len(labels))
        assert math.floor(share) <= (array[chosen] == label).sum() <= math.ceil(share)


@settings(deadline=None, max_examples=200)
@given(counts=st.lists(st.integers(0, 30), min_size=1, max_size=8).filter(any), data=st.data())
def test_largest_remainders(counts: list[int], data: st.DataObject) -> None:
    """Oracle: the textbook method, one seat at a time to the class with the largest remaining fraction."""
    size = data.draw(st.integers(1, sum(counts)))
    shares = [Fraction(size * count, sum(counts)) for count in counts]
    seats = [math.floor(share) for share in shares]
    while sum(seats) < size:
        rests = [share - seat for share, seat in zip(shares, seats, strict=True)]
        seats[rests.index(max(rests))] += 1
    assert quotas(np.array(counts), size).tolist() == seats


def test_class_counts_equal_scikit_learns() -> None:
    """Oracle: train_test_split(stratify=...), on unbalanced classes without ties."""
    labels = np.repeat(np.arange(5), [100, 53, 211, 17, 400])
    for size in (20, 77, 391, 700):
        theirs = train_test_split(labels, train_size=size, stratify=labels, random_state=0)[0]
        np.testing.assert_array_equal(np.bincount(labels[stratified(labels, size)]), np.bincount(theirs))


@settings(deadline=None, max_examples=100)
@given(labels=label_lists, data=st.data())
def test_a_part_and_the_rest_are_the_whole(labels: list[int], data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(labels)))
    part, rest = split_off(np.array(labels), size)
    assert sorted([*part, *rest]) == list(range(len(labels)))
    assert (np.diff(rest) > 0).all()


def test_choice_is_fixed_and_not_the_first_ones() -> None:
    """Neither NumPy's global seed nor an earlier call changes it, and it is spread over the set."""
    labels = np.tile(np.arange(10), 100)
    np.random.seed(1)
    first = stratified(labels, 200)
    np.random.seed(2)
    np.testing.assert_array_equal(first, stratified(labels, 200))
    assert first.min() < 50
    assert first.max() > 950


@pytest.mark.parametrize("size", [0, 4])
def test_impossible_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"size={size}: must be between 1 and the 3"):
        stratified(np.array([0, 1, 0]), size)
