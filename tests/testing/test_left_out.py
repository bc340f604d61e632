"""Which gallery images do not count for a query: a property of the set's records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bench.config import Evaluation
from bench.data.dataset import UNKNOWN, Dataset, ImageRecord
from bench.testing.evaluator import evaluate
from bench.testing.lists import Lists
from bench.testing.metrics import rank_queries

SCORES = np.array([[0.9, 0.8, 0.7, 0.6]])
GALLERY = np.array([1, 2, 1, 1])
"""Persons, for a query of person 1."""


def first_rank(query_camera=0, gallery_cameras=(1, 1, 1, 1), groups=()) -> tuple[int, int, int]:
    found = rank_queries(
        SCORES, np.array([1]), GALLERY, np.array([query_camera]), np.array(gallery_cameras), groups=groups
    )
    return int(found.first_rank[0]), int(found.matches_left[0]), int(found.gallery_left[0])


def test_the_same_person_by_the_same_camera_is_left_out_unless_the_camera_is_unknown():
    assert first_rank(0, (0, 0, 1, 1)) == (2, 2, 3)
    assert first_rank(UNKNOWN, (UNKNOWN,) * 4) == (1, 3, 4)


def test_images_of_the_querys_group_are_left_out_whoever_they_show():
    sequence = (np.array([7]), np.array([7, 7, 3, UNKNOWN]))
    assert first_rank(groups=[sequence]) == (1, 2, 2)
    itself = (np.array([0]), np.array([0, 1, 2, 3]))
    assert first_rank(groups=[itself]) == (2, 2, 3)
    assert first_rank(groups=[(np.array([UNKNOWN]), np.array([UNKNOWN] * 4))]) == (1, 3, 4)


def test_ranked_lists_hold_what_is_left_out_apart():
    lists = Lists()
    rank_queries(
        SCORES, np.array([1]), GALLERY, np.array([0]), np.array([1, 1, 1, 1]), lists=lists,
        groups=[(np.array([7]), np.array([UNKNOWN, 7, 7, 3]))],
    )  # fmt: skip
    (found,) = lists.parts
    assert found["gallery"].tolist() == [0, 1, 2, 3] and found["rank"].tolist() == [1, 0, 0, 2]


def test_one_against_the_rest_leaves_the_query_itself_out_and_encodes_each_image_once(pooling_model, small_dataset):
    dataset, images = small_dataset
    records = tuple(record._replace(camera=UNKNOWN) for record in dataset.query + dataset.gallery)
    whole = Dataset("whole", Path(), (), records, records, "f" * 64, shares_images=True)
    assert whole.left_out == ("itself",) and whole.one_side and len(whole.test_images) == len(records)
    model = pooling_model()
    found = evaluate(model, whole, images, Evaluation())
    assert found.left_out == ["itself"] and set(found.matches) == {7} and found.gallery_images == 48
    features = model.encode_all(images, np.arange(len(images)), 64)
    with torch.no_grad():
        scores = model.head.match(features, features).numpy()
    np.fill_diagonal(scores, -np.inf)  # the last place, from where it cannot be a match before another
    persons = np.array([record.person for record in records])
    first = [
        1 + int((row[(persons != person)] >= row[(persons == person)].max()).sum())
        for row, person in zip(scores, persons, strict=True)
    ]
    assert found.first_rank == first


def test_images_that_are_query_and_gallery_beside_others_that_are_not(pooling_model, small_dataset):
    dataset, images = small_dataset
    both = replace(dataset, gallery=(*dataset.query[:2], *dataset.gallery), shares_images=True)
    assert both.left_out == ("camera", "itself") and len(both.test_images) == len(images)
    assert [[*side] for side in both.sides] == [[*range(6)], [0, 1, *range(6, 48)]]
    ranked = [evaluate(pooling_model(), item, images, Evaluation()) for item in (dataset, both)]
    assert ranked[0].matches == ranked[1].matches
    assert all(alone <= beside for alone, beside in zip(ranked[0].last_rank, ranked[1].last_rank, strict=True))


def test_a_set_of_old_has_the_rule_of_cameras_alone(small_dataset):
    dataset, _ = small_dataset
    assert dataset.left_out == ("camera",) and dataset.groups == ()


def test_a_query_without_a_match_but_in_its_own_sequence_counts_nowhere():
    records = tuple(ImageRecord(Path(f"{at}.png"), at // 2, UNKNOWN, None, at // 2) for at in range(4))
    dataset = Dataset("s", Path(), (), records, records, "f" * 64, shares_images=True)
    (_, itself), (_, sequence) = dataset.groups
    ranks = rank_queries(
        np.eye(4),
        *[np.array([0, 0, 1, 1])] * 2,
        *[np.full(4, UNKNOWN)] * 2,
        groups=[(np.array(query), np.array(gallery)) for query, gallery in dataset.groups],
    )
    assert len(ranks.index) == 0 and itself == [0, 1, 2, 3] and sequence == [0, 0, 1, 1]


def test_parts_of_one_picture_are_images_of_their_own():
    left, right = (ImageRecord(Path("a.png"), 0, 0, (at, 0, at + 4, 4)) for at in (0, 4))
    dataset = Dataset("s", Path(), (), (left,), (right, left), "f" * 64, shares_images=True)
    assert dataset.test_images == (left, right) and dataset.sides == ([0], [1, 0])
