"""Ranked lists on disk: what is written is read, and what is damaged or another's is told."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest
from made_up_runs import measured

from bench.journal.lists import Entry, RankedLists, lists_of, lists_path, read_lists, write_lists
from bench.journal.reading import Unreadable
from bench.journal.record import TestResult as Result


def lists_of_two(**changes: object) -> RankedLists:
    """Three queries, of which the second has no match left, and four images of the gallery."""
    values = {
        "test": "market",
        "fingerprint": "f" * 64,
        "query_path": ["market/query/1.jpg", "market/query/<2>.jpg", os.fsdecode(b"market/query/\xff.jpg")],
        "gallery_path": [f"market/gallery/{at}.jpg" for at in range(4)],
        "query_person": np.array([1, 2, 3]),
        "query_camera": np.array([0, 0, 1]),
        "gallery_person": np.array([1, 3, 1, 9]),
        "gallery_camera": np.array([1, 0, 0, 2]),
        "start": np.array([0, 4, 4, 5]),
        "gallery": np.array([3, 2, 0, 1, 1], dtype=np.int32),
        "score": np.array([0.9, 0.8, 0.7, 0.1, 5.5], dtype=np.float32),
        "rank": np.array([1, 0, 2, 3, 1], dtype=np.int32),
    }
    return RankedLists(**(values | changes))


def test_what_is_written_is_read(tmp_path):
    written = lists_of_two()
    write_lists(tmp_path, written)
    found = read_lists(tmp_path, "market")
    for field in dataclasses.fields(RankedLists):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(written, field.name), field.name)
    assert found.queries.tolist() == [0, 2] and found.swapped is None


def test_each_entry_says_whether_it_is_right_wrong_or_left_out(tmp_path):
    lists = lists_of_two()
    score = [float(value) for value in lists.score]
    assert lists.of(0) == [
        Entry(3, score[0], 1, "wrong"),
        Entry(2, score[1], 0, "left out"),
        Entry(0, score[2], 2, "right"),
        Entry(1, score[3], 3, "wrong"),
    ]
    assert lists.of(1) == [] and lists.of(2) == [Entry(1, 5.5, 1, "right")]
    with pytest.raises(IndexError, match="no query 3: there are 3"):
        lists.of(3)


def test_a_set_tested_both_ways_has_lists_of_either_side(tmp_path):
    there = lists_of_two()
    sides = {"query_path": there.gallery_path, "gallery_path": there.query_path}
    sides |= {"query_person": there.gallery_person, "query_camera": there.gallery_camera}
    sides |= {"gallery_person": there.query_person, "gallery_camera": there.query_camera}
    back = lists_of_two(**sides, start=np.array([0, 1, 1, 1, 5]), gallery=np.array([0, 2, 0, 1, 1], dtype=np.int32))
    write_lists(tmp_path, dataclasses.replace(there, swapped=back))
    found = read_lists(tmp_path, "market").swapped
    assert found.query_path == there.gallery_path and found.gallery_person.tolist() == there.query_person.tolist()
    assert found.of(0) == back.of(0) and found.of(3) == back.of(3) and found.queries.tolist() == [0, 3]


def test_the_same_lists_give_the_same_bytes(tmp_path):
    first = write_lists(tmp_path / "one", lists_of_two())
    assert write_lists(tmp_path / "other", lists_of_two()) == first
    contents = {lists_path(tmp_path / name, "market").read_bytes() for name in ("one", "other")}
    assert len(contents) == 1 and [path.name for path in (tmp_path / "one").iterdir()] == ["lists-market.npz"]


def test_a_result_knows_its_lists(tmp_path):
    digest = write_lists(tmp_path, lists_of_two())
    result = measured("market", 0.5, 0.5, lists=digest)
    assert lists_of(tmp_path, result).of(2) == lists_of_two().of(2)
    older = Result.model_validate_json(result.model_dump_json(exclude={"lists", "lists_refused"}))
    assert lists_of(tmp_path, older) is None
    with pytest.raises(Unreadable, match="does not hold the ranked lists that belong to the record beside it"):
        lists_of(tmp_path, measured("market", 0.5, 0.5, lists="0" * 64))
    lists_path(tmp_path, "market").unlink()
    with pytest.raises(Unreadable, match=r"lists-market\.npz is gone"):
        lists_of(tmp_path, result)
    assert read_lists(tmp_path, "market") is None


@pytest.mark.parametrize(
    "arrays",
    [
        {"start": np.array([0, 4, 5])},
        {"start": np.array([0, 4, 3, 5])},
        {"gallery": np.array([3, 2, 0, 1, 4])},
        {"rank": np.array([1, 0, 2])},
        {"score": np.array([1, 2, 3, 4, 5])},
        {"query_person": np.array([1, 2])},
        {"format": np.array(99)},
        {"test": np.array("cuhk03")},
        {"query_path": None},
    ],
)
def test_lists_that_do_not_fit_are_refused_in_one_sentence(tmp_path, arrays):
    write_lists(tmp_path, lists_of_two())
    path = lists_path(tmp_path, "market")
    with np.load(path) as file:
        values = {**file, **arrays}
    np.savez(path, **{name: value for name, value in values.items() if value is not None})
    with pytest.raises(Unreadable, match=r"lists-market\.npz holds .*`bench run --lists`") as caught:
        read_lists(tmp_path, "market")
    assert "\n" not in str(caught.value)


def test_a_damaged_or_foreign_file_is_told(tmp_path):
    write_lists(tmp_path, lists_of_two())
    path = lists_path(tmp_path, "market")
    content = bytearray(path.read_bytes())
    spoilt = bytearray(content)
    spoilt[60] ^= 0xFF
    for damaged in (content[: len(content) // 2], spoilt, b"", b"{}"):
        path.write_bytes(damaged)
        with pytest.raises(Unreadable, match="holds no ranked lists"):
            read_lists(tmp_path, "market")
    path.unlink()
    path.mkdir()
    with pytest.raises(Unreadable, match="is not a file"):
        read_lists(tmp_path, "market")
