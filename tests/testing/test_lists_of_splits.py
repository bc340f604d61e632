"""A small set of several splits has the ranked lists of split 0, of both ways where it is tested both ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.data import Dataset, ImageRecord, Split
from bench.journal.lists import RankedLists, read_lists
from bench.testing.lists import Lists, listed_splits, store_split_lists
from bench.testing.splits import rank_splits

CHOSEN = [((3, 0, 5), (5, 3, 0, 6, 7)), ((1, 2), (1, 2))]


def small_set(both_ways: bool) -> Dataset:
    """Six persons in one view and eight in the other; the splits' positions are in no order."""
    sides = [
        tuple(ImageRecord(Path(f"/data/set/{view}/{at}.png"), at, view) for at in range(count))
        for view, count in ((0, 6), (1, 8))
    ]
    splits = [
        Split(number, query, tuple(at for at in gallery if at < 6) if swapped else gallery, swapped)
        for number, (query, gallery) in enumerate(CHOSEN)
        for swapped in ((False, True) if both_ways else (False,))
    ]
    return Dataset("viper", Path("/data/set"), (), *sides, "f" * 64, splits=tuple(splits))


def stored(dataset: Dataset, scores, folder: Path) -> tuple[RankedLists, list]:
    found: list[Lists] = []
    ranks = rank_splits(dataset, scores, found)
    store_split_lists(dataset, found, Path("/data"), folder)
    return read_lists(folder, "viper"), ranks


def assert_same(lists: RankedLists, ranks, scores) -> None:
    """Lists are of the queries that the record has of the split, with its ranks, and with the scores of their pairs."""
    assert lists.queries.tolist() == sorted(ranks.index.tolist())
    for row, query in enumerate(ranks.index):
        entries = lists.of(int(query))
        assert [entry.rank for entry in entries if entry.kind == "right"] == [ranks.first_rank[row]]
        assert [entry.score for entry in entries] == pytest.approx([scores[query, one.gallery] for one in entries])
        assert len(entries) == ranks.gallery_left[row]


def test_one_way(tmp_path):
    dataset = small_set(both_ways=False)
    scores = np.random.default_rng(0).random((6, 8), dtype=np.float32)
    lists, ranks = stored(dataset, scores, tmp_path)
    assert lists.swapped is None and [split.number for split in listed_splits(dataset)] == [0]
    assert lists.query_path == [f"set/0/{at}.png" for at in range(6)] and len(lists.gallery_path) == 8
    assert_same(lists, ranks[0], scores)


def test_both_ways_are_told_apart(tmp_path):
    dataset = small_set(both_ways=True)
    scores = np.random.default_rng(1).random((6, 2, 8), dtype=np.float32)
    lists, ranks = stored(dataset, scores, tmp_path)
    assert_same(lists, ranks[0], scores[:, 0])
    back = lists.swapped
    assert back.query_path == lists.gallery_path and back.gallery_person.tolist() == lists.query_person.tolist()
    assert_same(back, ranks[1], scores[:, 1].T)
