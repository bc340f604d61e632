"""Rankings where a head scores nothing but what a vector chose, for every length, from the scores of all pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.data import ImageRecord
from bench.data.dataset import Dataset
from bench.errors import CellFailed
from bench.testing.metrics import QueryRanks
from bench.testing.ranking import rank_chunk
from bench.testing.shortlist import ROWS, TwoOrders, lengths, rank_shortlists


@pytest.fixture
def dataset() -> Dataset:
    """More queries than are sorted together; cameras unknown, shared and others; the first images are in both lists."""
    draws = np.random.default_rng(1)
    gallery = tuple(
        ImageRecord(Path(f"{at}.jpg"), int(draws.integers(6)), int(draws.integers(-1, 3)), None, int(draws.integers(9)))
        for at in range(40)
    )
    more = tuple(record._replace(path=Path(f"q{record.path}")) for record in gallery * 2)
    return Dataset("drawn", Path(), (), gallery[:5] + more, gallery, "f" * 64, shares_images=True)


def scores(dataset: Dataset, seed: int) -> np.ndarray:
    """[Q, G] scores of few values, so that many are equal."""
    return np.random.default_rng(seed).integers(-4, 5, (len(dataset.query), len(dataset.gallery))).astype(np.float32)


def same(ours: QueryRanks, theirs: QueryRanks) -> bool:
    return all(np.array_equal(getattr(ours, name), getattr(theirs, name)) for name in QueryRanks.__dataclass_fields__)


def test_lengths_go_from_ten_to_the_whole_gallery():
    assert lengths(1060) == [10, 20, 50, 100, 200, 500, 1060]
    assert lengths(8) == [8]
    assert lengths(19_281)[-3:] == [5000, 10_000, 19_281]


def test_the_whole_gallery_is_the_full_test_and_none_of_it_the_vectors(dataset):
    head, vector = scores(dataset, 2), scores(dataset, 3)
    half = ROWS + 3
    chunks = [(0, head[:half], vector[:half]), (half, head[half:], vector[half:])]
    alone, whole = rank_shortlists(dataset, iter(chunks), [0, len(dataset.gallery)])
    assert dataset.groups and len(whole.index) > ROWS
    assert same(whole, rank_chunk(dataset, head, 0))
    assert same(alone, rank_chunk(dataset, vector, 0))
    assert not same(whole, alone)


def test_what_is_outside_ranks_behind_what_is_inside_in_the_vectors_order():
    head = np.array([[5.0, 1.0, 9.0, 7.0, 8.0]])
    vector = np.array([[0.9, 0.8, 0.1, 0.3, 0.2]])
    orders = TwoOrders.of(head, vector)
    ranked = {length: np.argsort(-orders.with_shortlist(length)[0]).tolist() for length in range(6)}
    assert ranked == {
        0: [0, 1, 3, 4, 2],
        1: [0, 1, 3, 4, 2],
        2: [0, 1, 3, 4, 2],
        3: [3, 0, 1, 4, 2],
        4: [4, 3, 0, 1, 2],
        5: [2, 4, 3, 0, 1],
    }


def test_of_equal_vectors_the_first_in_the_gallery_comes_into_the_shortlist():
    orders = TwoOrders.of(np.array([[1.0, 2.0, 3.0]]), np.array([[0.5, 0.5, 0.5]]))
    assert np.argsort(-orders.with_shortlist(2)[0], kind="stable").tolist() == [1, 0, 2]


def test_scores_that_are_equal_or_endless_keep_their_order():
    head = np.array([[np.inf, 3e38, 3e38, -np.inf]], np.float32)
    orders = TwoOrders.of(head, np.zeros_like(head))
    first, second, third, last = orders.with_shortlist(4)[0]
    assert first > second == third > last


@pytest.mark.parametrize("of", ["head", "vector"])
def test_scores_that_are_no_numbers_are_refused(dataset, of):
    dataset = replace(dataset, shares_images=False)
    both = {"head": scores(dataset, 2), "vector": scores(dataset, 3)}
    both[of][1, 1] = np.nan
    with pytest.raises(CellFailed, match="NaN"):
        rank_shortlists(dataset, iter([(0, both["head"], both["vector"])]), [10])
