"""A small set is scored once, and each of its splits comes out as if it were tested by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cut_at import CutAt
from networks import pooling

from bench.config import Evaluation
from bench.data import Dataset, ImageRecord, Split
from bench.data.cache import split_records
from bench.errors import CellFailed
from bench.network.matcher import Matcher
from bench.report.columns import at_chance
from bench.system.signals import Interrupted
from bench.testing.evaluator import evaluate, pixel_baseline

PERSONS = 8
SYMMETRIC, ASYMMETRIC = "TransMatcher", "Transformer-Cross"
ROWS = {SYMMETRIC: "transmatcher", ASYMMETRIC: "transformer_cross"}
TIGHT = {SYMMETRIC: 7.5 / 2**20, ASYMMETRIC: 6.0 / 2**20}
"""GiB in which neither side fits."""


def images_of(persons: np.ndarray, seed: int = 0) -> np.ndarray:
    """[n, 3, 32, 16]: noisy pictures in a colour of the person's own."""
    draws = np.random.default_rng(seed)
    colours = np.random.default_rng(7).integers(0, 256, (100, 3, 1, 1))
    return (colours[persons] + draws.normal(0, 60, (len(persons), 3, 32, 16))).clip(0, 255).astype(np.uint8)


def records(persons: np.ndarray, camera: int) -> tuple[ImageRecord, ...]:
    return tuple(ImageRecord(Path(f"{camera}-{at}.png"), int(one), camera) for at, one in enumerate(persons))


@pytest.fixture
def pairs() -> tuple[Dataset, np.ndarray]:
    """Two views of eight persons, and four strangers in the second; three splits, each tested both ways."""
    query, gallery = np.arange(PERSONS), np.arange(PERSONS + 4)
    strangers = tuple(range(PERSONS, PERSONS + 4))
    chosen = [(0, 2, 5, 7), (1, 2, 3), (0, 4, 6, 7)]
    splits = tuple(
        Split(number, people, people if swapped else people + strangers, swapped)
        for number, people in enumerate(chosen)
        for swapped in (False, True)
    )
    dataset = Dataset(
        "pairs", Path(), (), records(query, 0), records(gallery, 1), "f" * 64, splits=splits, split_source="drawn"
    )
    return dataset, np.concatenate((images_of(query, 1), images_of(gallery, 2)))


@pytest.fixture
def crowd() -> tuple[Dataset, np.ndarray]:
    """Three images of each of six persons without cameras; any may be query or gallery."""
    persons = np.repeat(np.arange(6), 3)
    query = tuple(ImageRecord(Path(f"{at}.png"), int(one), 0) for at, one in enumerate(persons))
    gallery = tuple(one._replace(camera=1) for one in query)
    splits = (Split(0, (0, 5, 8), (1, 3, 6)), Split(1, (1, 9, 13, 16), (2, 10, 12, 15)))
    dataset = Dataset("crowd", Path(), (), query, gallery, "f" * 64, splits=splits)
    assert split_records(dataset, "test") == query
    return dataset, images_of(persons)


@pytest.fixture
def model_of(tiny_config) -> Callable[[str], Matcher]:
    return lambda row: pooling(tiny_config(row, backbone={"cut": "layer3"}))


def alone(dataset: Dataset, images: np.ndarray, split: Split) -> tuple[Dataset, np.ndarray]:
    """One split as a set of its own, with one query list and one gallery."""
    first = len(dataset.query)
    sides = [
        (tuple(dataset.query[at] for at in split.query), images[[*split.query]]),
        (
            tuple(dataset.gallery[at] for at in split.gallery),
            images[[at if dataset.one_side else first + at for at in split.gallery]],
        ),
    ]
    (query, ours), (gallery, theirs) = sides[::-1] if split.swapped else sides
    return Dataset(dataset.name, Path(), (), query, gallery, "f" * 64), np.concatenate((ours, theirs))


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("kind", ["pairs", "crowd"])
def test_each_split_comes_out_as_if_tested_by_itself(request, model_of, kind, row):
    dataset, images = request.getfixturevalue(kind)
    model = model_of(row)
    found = evaluate(model, dataset, images, Evaluation())
    start = 0
    for split, result in zip(dataset.splits, found.splits, strict=True):
        expected = evaluate(model, *alone(dataset, images, split), Evaluation())
        own = slice(start, start + result.queries)
        assert found.first_rank[own] == expected.first_rank
        assert found.query_index[own] == list(split.gallery if split.swapped else split.query)
        np.testing.assert_allclose(found.average_precision[own], expected.average_precision, atol=1e-9)
        assert (result.split, result.swapped) == (split.number, split.swapped)
        assert (result.rank1, result.gallery_images) == (expected.rank1, expected.gallery_images)
        assert result.mAP == pytest.approx(expected.mAP) and result.cmc == pytest.approx(expected.cmc)
        start += result.queries
    assert start == len(found.first_rank)
    for name in ("rank1", "mAP", "mAP_trapezoid"):
        assert getattr(found, name) == pytest.approx(np.mean([getattr(one, name) for one in found.splits]))
        if name != "mAP_trapezoid":
            spread = np.std([getattr(one, name) for one in found.splits], ddof=1)
            assert getattr(found.spread_over_splits, name) == pytest.approx(spread)
    assert found.cmc == pytest.approx(np.mean([one.cmc for one in found.splits], axis=0))


def test_with_one_match_a_query_the_average_precision_is_one_over_its_rank(model_of, crowd):
    dataset, images = crowd
    found = evaluate(model_of(SYMMETRIC), dataset, images, Evaluation())
    assert found.average_precision == pytest.approx([1 / rank for rank in found.first_rank])


def test_a_symmetric_head_needs_no_second_scores_and_another_one_does(model_of, pairs):
    dataset, images = pairs
    once = len(dataset.query) * len(dataset.gallery)
    assert evaluate(model_of(SYMMETRIC), dataset, images, Evaluation()).pairs == once
    assert evaluate(model_of(ASYMMETRIC), dataset, images, Evaluation()).pairs == 2 * once


@pytest.mark.parametrize("kind", ["pairs", "crowd"])
def test_every_image_is_encoded_once_for_all_splits(request, model_of, monkeypatch, kind):
    dataset, images = request.getfixturevalue(kind)
    seen = np.zeros(len(images), dtype=int)
    encode_batches, calls = Matcher.encode_batches, []

    def count(self, images, positions, *more):
        calls.append(len(positions))
        if len(calls) > 1:  # the first shows how large a representation is
            np.add.at(seen, positions, 1)
        return encode_batches(self, images, positions, *more)

    monkeypatch.setattr(Matcher, "encode_batches", count)
    evaluate(model_of(ASYMMETRIC), dataset, images, Evaluation())
    assert seen.tolist() == [1] * len(images)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("kind", ["pairs", "crowd"])
def test_a_small_memory_changes_no_rank(request, model_of, tmp_path, kind, row):
    dataset, images = request.getfixturevalue(kind)
    model = model_of(row)
    whole = evaluate(model, dataset, images, Evaluation())
    for folder in (None, tmp_path):
        settings = Evaluation(memory_gib=TIGHT[row], batch=3)
        tight = evaluate(model, dataset, images, settings, folder=folder)
        assert tight.first_rank == whole.first_rank and tight.query_index == whole.query_index
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("batch", [3, 64])
def test_an_interrupted_test_goes_on_where_it_was(model_of, pairs, tmp_path, row, batch):
    dataset, images = pairs
    model = model_of(row)
    settings = Evaluation(memory_gib=TIGHT[row], batch=3) if batch == 3 else Evaluation()
    counting = CutAt(0)
    whole = evaluate(model, dataset, images, settings, folder=tmp_path, pulse=counting)
    assert counting.chances > 1
    for chance in {*range(1, counting.chances, counting.chances // 2), counting.chances}:
        folder = tmp_path / str(chance)
        folder.mkdir()
        with pytest.raises(Interrupted):
            evaluate(model, dataset, images, settings, folder=folder, pulse=CutAt(chance))
        done = evaluate(model, dataset, images, settings, folder=folder)
        assert done.first_rank == whole.first_rank and done.average_precision == whole.average_precision
        assert list(folder.iterdir()) == []


def test_other_splits_do_not_take_up_what_was_left_behind(model_of, pairs, tmp_path):
    dataset, images = pairs
    model = model_of(SYMMETRIC)
    with pytest.raises(Interrupted):
        evaluate(model, dataset, images, Evaluation(), folder=tmp_path, pulse=CutAt(2))
    others = dataclasses.replace(dataset, splits=dataset.splits[2:], fingerprint="e" * 64)
    found = evaluate(model, others, images, Evaluation(), folder=tmp_path)
    assert found.first_rank == evaluate(model, others, images, Evaluation()).first_rank


def test_a_split_without_a_match_and_nan_scores_are_told(model_of, pairs):
    dataset, images = pairs
    lonely = dataclasses.replace(dataset, splits=(Split(4, (0,), (1, 2)),))
    with pytest.raises(CellFailed, match="pairs, split 4: no query has a match"):
        evaluate(model_of(SYMMETRIC), lonely, images, Evaluation())
    model = model_of(SYMMETRIC)
    model.head.norm.weight.data.fill_(np.nan)
    with pytest.raises(CellFailed, match="pairs, split 0: some scores are NaN"):
        evaluate(model, dataset, images, Evaluation())


def test_chance_and_pixels_are_means_over_the_splits(model_of, pairs):
    dataset, images = pairs
    found = evaluate(model_of(SYMMETRIC), dataset, images, Evaluation(), baselines=True)
    parts = [alone(dataset, images, split) for split in dataset.splits]
    singles = [evaluate(model_of(SYMMETRIC), *part, Evaluation()) for part in parts]
    assert found.chance.mAP == pytest.approx(np.mean([one.chance.mAP for one in singles]))
    assert found.chance.rank1 == pytest.approx(np.mean([one.chance.rank1 for one in singles]))
    assert found.pixels.mAP == pytest.approx(np.mean([pixel_baseline(*part).mAP for part in parts]))


def test_chance_is_judged_by_the_queries_of_one_split(model_of, pairs):
    """The same persons in many splits are no more evidence than in one."""
    dataset, images = pairs
    found = evaluate(model_of(SYMMETRIC), dataset, images, Evaluation())
    own = found.splits[0].queries
    precisions = [0.6, 0.4, 0.5, 0.1][:own]
    once = found.model_copy(
        update={"mAP": 0.4, "average_precision": precisions, "splits": found.splits[:1], "chance": found.chance}
    )
    often = once.model_copy(update={"average_precision": precisions * 20, "splits": found.splits[:1] * 20})
    for chance in (0.1, 0.2, 0.3):
        level = found.chance.model_copy(update={"mAP": chance})
        verdicts = {at_chance([one.model_copy(update={"chance": level})]) for one in (once, often)}
        assert verdicts == {chance > 0.16}
