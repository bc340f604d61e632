"""Ranked lists of a test: what each has, by hand and against the metrics, and the same after any interruption."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cut_at import CutAt

from bench.config import Evaluation
from bench.data import Dataset, ImageRecord
from bench.errors import CellFailed
from bench.journal.lists import Entry, lists_of, lists_path, read_lists
from bench.system.signals import Interrupted
from bench.testing.again import OtherNumbers
from bench.testing.evaluator import evaluate
from bench.testing.lists import ENTRY, Lists, ListSpool
from bench.testing.metrics import rank_queries


def listed(scores, persons, cameras, query=(7, 0)) -> list[tuple[int, int]]:
    """(position in the gallery, rank) of one query's list."""
    lists = Lists()
    row = np.array([scores], dtype=np.float32)
    rank_queries(row, np.array(query[:1]), np.array(persons), np.array(query[1:]), np.array(cameras), lists=lists)
    return [(int(entry["gallery"]), int(entry["rank"])) for entry in lists.entries]


def test_a_list_by_hand():
    """Right images at ranks 2 and 12; the query's own camera's score above all, between ranks 2 and 3, and below."""
    persons = [7, 1, 7, 7, 2, 2, 2, 2, 2, 2, 2, 2, 2, 7, 7]
    cameras = [0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]
    found = listed([99, 90, 80, 75, 70, 69, 68, 67, 66, 65, 64, 63, 62, 10, 5], persons, cameras)
    best = [(4, 3), (5, 4), (6, 5), (7, 6), (8, 7), (9, 8), (10, 9), (11, 10)]
    assert found == [(0, 0), (1, 1), (2, 2), (3, 0), *best, (13, 12)]


def test_of_equal_scores_wrong_images_come_first_each_in_the_order_of_the_gallery():
    assert listed([1, 1, 1, 1, 1, 1], [7, 3, 7, 2, 7, 1], [1, 1, 0, 1, 1, 1]) == [
        (1, 1), (3, 2), (5, 3), (0, 4), (4, 5), (2, 0),
    ]  # fmt: skip


def test_a_large_gallery_of_equal_scores_keeps_ten_and_the_right_ones():
    found = listed([0.5] * 500, [7 if at == 3 else 0 for at in range(500)], [1] * 500)
    assert found == [*zip((0, 1, 2, *range(4, 11)), range(1, 11), strict=True), (3, 500)]


def test_at_most_ten_left_out_images_are_shown_and_only_above_the_tenth():
    persons, cameras = [7] * 30 + [7] + [1] * 20, [0] * 30 + [1] + [1] * 20
    found = listed([*range(130, 100, -1), 100, *range(99, 79, -1)], persons, cameras)
    assert [entry for entry in found if entry[1] == 0] == [(at, 0) for at in range(10)]
    below = listed([0] * 30 + [100, *range(99, 79, -1)], persons, cameras)
    assert not [entry for entry in below if entry[1] == 0]
    few = listed([5, 1, 3], [7, 7, 1], [0, 1, 1])
    assert few == [(0, 0), (2, 1), (1, 2)]


@pytest.mark.parametrize(
    ("values", "images", "persons"), [(1000, 120, 6), (12, 120, 6), (1, 120, 6), (9000, 4000, 400)]
)
def test_lists_are_the_gallery_sorted_as_the_metrics_count(values, images, persons):
    """Against a plain sort of the whole gallery, with few and many ties; ranks are the record's."""
    draws = np.random.default_rng(values)
    query, gallery = draws.integers(0, persons, (2, 40)), draws.integers(0, persons, (2, images))
    query[1], gallery[1] = query[1] % 3, gallery[1] % 3
    scores = draws.integers(0, values, (40, images)).astype(np.float32)
    lists = Lists()
    ranks = rank_queries(scores, query[0], gallery[0], query[1], gallery[1], lists=lists)
    for at, part in enumerate(lists.parts):
        same = gallery[0] == query[0][at]
        counts = ~(same & (gallery[1] == query[1][at]))
        order = [place for place in np.lexsort((same, -scores[at])) if counts[place]]
        expected = [(place, rank) for rank, place in enumerate(order, 1) if rank <= 10 or same[place]]
        assert [(entry["gallery"], entry["rank"]) for entry in part if entry["rank"]] == expected
        right = [int(entry["rank"]) for entry in part if entry["rank"] and same[entry["gallery"]]]
        row = int(np.flatnonzero(ranks.index == at)[0])
        assert (right[0], right[-1], len(right)) == (
            ranks.first_rank[row], ranks.last_rank[row], ranks.matches_left[row],
        )  # fmt: skip
        assert part["score"].tolist() == scores[at][part["gallery"]].tolist()


def test_an_entry_takes_less_than_200_bytes_on_disk(tmp_path):
    """With seven gallery images a query and names as long as MSMT17's; scores that do not compress."""
    draws = np.random.default_rng(0)
    query, gallery = ((draws.integers(0, 40, count), draws.integers(0, 15, count)) for count in (150, 1050))
    spool = ListSpool(tmp_path / "spool")
    spool.begin()
    lists = Lists()
    scores = draws.random((150, 1050), dtype=np.float32)
    rank_queries(scores, query[0], gallery[0], query[1], gallery[1], lists=lists)
    spool.append(lists)
    sides = [
        tuple(
            ImageRecord(Path(f"/data/MSMT17_V1/test/{person:04}/{person:04}_{at:03}_0303morning.jpg"), person, camera)
            for at, (person, camera) in enumerate(zip(side[0].tolist(), side[1].tolist(), strict=True))
        )
        for side in (query, gallery)
    ]
    spool.store(Dataset("msmt", Path("/data"), (), *sides, "f" * 64), Path("/data"), tmp_path)
    assert lists_path(tmp_path, "msmt").stat().st_size / len(lists.entries) < 200
    assert read_lists(tmp_path, "msmt").gallery_path[0].startswith("MSMT17_V1/test/00")


def test_a_query_without_a_match_has_no_list():
    lists = Lists()
    rank_queries(np.ones((2, 2)), *map(np.array, ([7, 1], [7, 5], [0, 0], [1, 1])), lists=lists)
    assert lists.sizes.tolist() == [2, 0] and lists.entries.dtype == ENTRY


@pytest.fixture
def test_of(pooling_model, small_dataset, tmp_path, monkeypatch):
    """Evaluate a network in a folder, with its lists; two queries go at a time."""
    monkeypatch.setattr("bench.testing.memory_budget.QUERY_CHUNK", 2)
    dataset, images = small_dataset
    model = pooling_model()

    def call(folder="here", settings=None, pulse=None, **more):
        (tmp_path / folder).mkdir(exist_ok=True)
        where = {"folder": tmp_path / folder, "data_dir": dataset.root, "pulse": pulse}
        return evaluate(model, dataset, images, settings or Evaluation(), **(where | more))

    return call


def test_ranks_of_the_lists_are_those_of_the_record(test_of, small_dataset, tmp_path):
    dataset: Dataset = small_dataset[0]
    result = test_of()
    lists = lists_of(tmp_path / "here", result)
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["lists-small.npz"]
    assert lists.query_path == [record.path.name for record in dataset.query]
    assert lists.gallery_camera.tolist() == [record.camera for record in dataset.gallery]
    assert (lists.fingerprint, lists.queries.tolist()) == (dataset.fingerprint, result.query_index)
    for at, query in enumerate(result.query_index):
        ranks = [entry.rank for entry in lists.of(query) if entry.kind == "right"]
        assert (ranks[0], ranks[-1], len(ranks)) == (
            result.first_rank[at], result.last_rank[at], result.matches[at],
        )  # fmt: skip


def test_lists_of_a_test_cut_at_any_safe_point_are_the_same_bytes(test_of, tmp_path):
    settings, counting = Evaluation(batch=5), CutAt(0)
    whole = test_of("whole", settings, counting)
    content = lists_path(tmp_path / "whole", "small").read_bytes()
    for chance in range(1, counting.chances + 1, max(1, counting.chances // 5)):
        with pytest.raises(Interrupted):
            test_of(str(chance), settings, CutAt(chance))
        done = test_of(str(chance), settings)
        assert done.lists == whole.lists and lists_path(tmp_path / str(chance), "small").read_bytes() == content
        assert len(list((tmp_path / str(chance)).iterdir())) == 1


@pytest.mark.parametrize("harm", ["gone", "shorter", "longer", "other"])
def test_a_half_done_test_whose_lists_were_harmed_comes_to_the_same(test_of, tmp_path, harm):
    settings, counting = Evaluation(batch=5), CutAt(0)
    whole = test_of("whole", settings, counting)
    with pytest.raises(Interrupted):
        test_of(settings=settings, pulse=CutAt(counting.chances - 1))
    spool = tmp_path / "here" / "partial-small.lists"
    content = spool.read_bytes()
    assert content
    if harm == "gone":
        spool.unlink()
    else:
        others = {"shorter": content[:-5], "longer": content + b"half an entry", "other": bytes(len(content))}
        spool.write_bytes(others[harm])
    assert test_of(settings=settings).lists == whole.lists


def test_lists_are_of_the_trained_network_and_where_they_are_asked_for(test_of, tmp_path):
    assert test_of(state="untrained").lists == "" and test_of(data_dir=None).lists == ""
    assert list((tmp_path / "here").iterdir()) == []


def test_a_test_that_is_repeated_adds_its_lists_and_changes_nothing_else(test_of, tmp_path):
    first = test_of("first")
    older = first.model_copy(update={"lists": "", "last_rank": [], "mINP": None, "seconds": {"matching": 99.0}})
    again = test_of("again", earlier=older)
    assert again == first.model_copy(update={"seconds": {"matching": 99.0}}) and again.lists == first.lists


def test_other_numbers_replace_nothing(test_of, tmp_path):
    first = test_of()
    content = lists_path(tmp_path / "here", "small").read_bytes()
    ranks = [*first.first_rank]
    ranks[0] += 1
    with pytest.raises(OtherNumbers, match=r"gives other numbers than the record has \(first_rank\): mAP "):
        test_of(earlier=first.model_copy(update={"first_rank": ranks}))
    assert lists_path(tmp_path / "here", "small").read_bytes() == content
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["lists-small.npz"]


def test_lists_that_cannot_be_stored_fail_the_test(test_of, tmp_path):
    lists_path(tmp_path / "here", "small").mkdir(parents=True)
    with pytest.raises(CellFailed, match="cannot save the ranked lists in "):
        test_of()


def test_the_kinds_of_entries_follow_from_persons_and_ranks(test_of, tmp_path):
    test_of()
    lists = read_lists(tmp_path / "here", "small")
    entry = lists.of(0)[0]
    right = lists.gallery_person[entry.gallery] == lists.query_person[0]
    assert isinstance(entry, Entry) and entry.kind == ("right" if right else "wrong")
