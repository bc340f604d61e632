"""Intervals and p values of differences: persons are what is drawn, and that covers what it promises."""

from __future__ import annotations

import numpy as np
import pytest

from bench.report.resampling import crossed, groups_not_apart, holm, intervals, sample, seeds_to_settle, swapping

TRUE = 2.0
DIFFERENCE = np.array([[1.0], [-1.0]])


def world(draws: np.random.Generator, persons: int = 60, queries: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Persons [Q] and values [Q, 2] of two rows, the first better by TRUE; a person's queries are alike."""
    person = np.repeat(np.arange(persons), queries)
    gain = draws.normal(TRUE, 6, persons)[person] + draws.normal(0, 6, len(person))
    second = draws.normal(50, 10, persons)[person]
    return person, np.column_stack((second + gain, second))


def coverage(single_queries: bool, worlds: int = 500, resamples: int = 399) -> float:
    """The share of worlds whose interval holds the true difference; 399 resamples are enough to see it."""
    held = 0
    for seed in range(worlds):
        person, values = world(np.random.default_rng((7, seed)))
        unit = np.arange(len(person)) if single_queries else person
        found = intervals([sample(unit, np.zeros_like(unit), values)], DIFFERENCE, resamples, seed)
        held += bool(found.low[0] <= TRUE <= found.high[0])
    return held / worlds


@pytest.mark.slow
def test_intervals_of_persons_hold_the_truth_and_those_of_queries_do_not():
    assert 0.93 <= coverage(single_queries=False) <= 0.97
    assert coverage(single_queries=True) < 0.93


def test_a_person_of_many_queries_weighs_as_many():
    found = sample([4, 4, 9], [0, 0, 0], np.array([[1.0], [0.0], [1.0]]))
    assert (found.persons, found.queries) == (2, 3)
    assert found.values(np.ones(2)) == pytest.approx([2 / 3])
    assert found.values(np.array([2.0, 0.0])) == pytest.approx([1 / 2])
    assert found.shares().sum() == pytest.approx(2 / 3)


def test_splits_are_averaged_and_share_their_persons():
    found = sample([1, 2, 1, 3], [0, 0, 1, 1], np.array([[1.0], [0.0], [1.0], [1.0]]))
    assert found.persons == 3 and found.values(np.ones(3)) == pytest.approx([3 / 4])
    assert found.values(np.array([0.0, 3.0, 0.0])) == pytest.approx([0.0])


def test_swapping_by_hand():
    # Three persons, each better by 1: of 8 ways to swap, two are as far from nothing.
    found = sample([0, 1, 2], [0, 0, 0], np.array([[1.0, 0.0]] * 3))
    assert swapping([found], DIFFERENCE) == pytest.approx([2 / 8])
    same = sample([0, 1, 2], [0, 0, 0], np.array([[1.0, 1.0]] * 3))
    assert swapping([same], DIFFERENCE) == pytest.approx([1.0])


def test_the_same_seed_gives_the_same_numbers_and_one_person_none():
    person, values = world(np.random.default_rng(0))
    one = sample(person, np.zeros_like(person), values)
    first, again = (intervals([one], DIFFERENCE, 99, seed=3) for _ in range(2))
    assert first.low == again.low and first.high == again.high and first.low < first.value < first.high
    with pytest.raises(ValueError, match="two or more"):
        intervals([sample([1, 1], [0, 0], values[:2])], DIFFERENCE)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]


def test_groups_share_exactly_what_is_not_apart():
    assert groups_not_apart(3, [(0, 2)]) == [frozenset({0, 1}), frozenset({1, 2})]
    assert groups_not_apart(3, []) == [frozenset({0, 1, 2})]
    draws = np.random.default_rng(1)
    for _ in range(20):
        apart = [(a, b) for a in range(7) for b in range(a + 1, 7) if draws.random() < 0.5]
        groups = groups_not_apart(7, apart)
        for a in range(7):
            for b in range(a + 1, 7):
                assert any({a, b} <= group for group in groups) is ((a, b) not in apart)


def test_more_trainings_do_not_stand_in_for_persons():
    few, many = crossed([1.0, 3.0], 1.0, 100), crossed([1.0, 3.0] * 50, 1.0, 100)
    assert few.value == many.value == 2.0
    assert few.high - few.low > many.high - many.low > 2 * 1.96
    assert seeds_to_settle(1.0, 1.0, 100, 2.0, 2, 0.05) is None
    more = seeds_to_settle(3.0, 1.0, 100, 2.0, 2, 0.05)
    assert more is not None and more > 0
