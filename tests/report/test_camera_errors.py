"""Errors by camera pair."""

from __future__ import annotations

import numpy as np
import pytest

from bench.journal.lists import RankedLists
from bench.report.camera_errors import camera_errors
from bench.testing.lists import Lists
from bench.testing.metrics import QueryRanks, rank_queries


def lists_from(scores, query, gallery) -> tuple[RankedLists, QueryRanks]:
    """The lists of a test, and its ranks; persons and cameras are [2, n]."""
    lists = Lists()
    ranks = rank_queries(scores, query[0], gallery[0], query[1], gallery[1], lists=lists)
    entries = lists.entries
    made = RankedLists(
        "made", "f", [""] * len(query[0]), [""] * len(gallery[0]), query[0], query[1], gallery[0], gallery[1],
        np.concatenate(([0], np.cumsum(lists.sizes))), entries["gallery"], entries["score"], entries["rank"],
    )  # fmt: skip
    return made, ranks


def test_by_hand():
    """Camera 2: one error towards camera 5, one query right; camera 4: the image left out is no error of its own."""
    query = np.array([[1, 2, 3, 4], [2, 2, 4, 4]])
    gallery = np.array([[1, 2, 3, 3, 9], [5, 5, 4, 5, 7]])
    scores = np.array([[9, 1, 1, 1, 2], [9, 1, 1, 1, 2], [1, 1, 9, 5, 2], [1, 1, 1, 1, 1]])
    found = camera_errors(lists_from(scores, query, gallery)[0])
    assert (found.query_cameras, found.gallery_cameras) == ((2, 4), (4, 5, 7))
    assert found.errors.tolist() == [[0, 1, 0], [0, 0, 0]] and found.queries.tolist() == [2, 1]
    assert found.shares.tolist() == [[0, 0.5, 0], [0, 0, 0]]


def test_all_errors_together_are_what_rank_1_lacks():
    draws = np.random.default_rng(0)
    query, gallery = draws.integers(0, 5, (2, 200)), draws.integers(0, 5, (2, 80))
    lists, ranks = lists_from(draws.random((200, 80)), query, gallery)
    found = camera_errors(lists)
    assert found.errors.sum() / found.queries.sum() == pytest.approx((ranks.first_rank > 1).mean())
    assert found.queries.sum() == len(lists.queries)


def test_without_a_list_there_are_no_errors():
    found = camera_errors(lists_from(np.ones((1, 1)), np.array([[1], [0]]), np.array([[2], [1]]))[0])
    assert found.errors.shape == (0, 1) and found.queries.tolist() == []
