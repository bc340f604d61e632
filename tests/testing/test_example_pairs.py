"""The pairs whose local matches are shown, and the threshold above which matches count."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.errors import UserError
from bench.testing.example_pairs import example_pairs
from bench.testing.local_matches import threshold_at


@pytest.mark.parametrize("far", [0.001, 0.01, 0.05, 0.07, 0.29, 0.5, 0.999])
def test_at_most_the_asked_share_passes_whatever_ties_there_are(far):
    draws = np.random.default_rng(0)
    for trial in range(200):
        count = int(draws.integers(1, 400))
        values = draws.normal(size=count)
        if trial % 2:
            values = values.round(int(draws.integers(0, 2)))
        passing = int((values > threshold_at(far, values.reshape(1, -1))).sum())
        assert passing <= far * count
        if not trial % 2:
            # Without ties one match more would be too many.
            assert passing + 1 > far * count - 1e-9


def test_where_all_are_alike_none_passes():
    assert threshold_at(0.5, np.full(10, 0.25)) == 0.25


@pytest.mark.parametrize("values", [[], [0.1, np.nan]])
def test_a_threshold_needs_numbers(values):
    with pytest.raises(ValueError, match="matches of negative pairs"):
        threshold_at(0.01, np.array(values))


def test_right_pairs_are_right_and_wrong_ones_score_highest_of_all_persons(pooling_model, small_dataset, tiny_config):
    model, (dataset, images) = pooling_model(), small_dataset
    found = example_pairs(model, dataset, images, tiny_config(), 4, seed=1)
    assert len(set(found.query)) == 4 and found.sampled == len(dataset.gallery)
    gallery = np.arange(len(dataset.query), len(images))
    with torch.inference_mode():
        scores = model.head.match(*(model.encode_all(images, side, 4) for side in (found.query, gallery))).numpy()
    persons = np.array([record.person for record in dataset.gallery])
    for row, at in enumerate(found.query):
        person = dataset.query[at].person
        assert persons[found.right[row]] == person != persons[found.wrong[row]]
        others = np.flatnonzero(persons != person)
        assert found.wrong[row] == others[scores[row, others].argmax()]


def test_the_seed_alone_chooses_the_pairs(pooling_model, small_dataset, tiny_config):
    model, (dataset, images) = pooling_model(), small_dataset

    def chosen(seed: int) -> list[list[int]]:
        found = example_pairs(model, dataset, images, tiny_config(), 3, seed)
        return [part.tolist() for part in (found.query, found.right, found.wrong)]

    assert chosen(0) == chosen(0) != chosen(2)


def test_more_pairs_than_queries_are_refused(pooling_model, small_dataset, tiny_config):
    model, (dataset, images) = pooling_model(), small_dataset
    with pytest.raises(UserError, match="small has 6 queries with a right image"):
        example_pairs(model, dataset, images, tiny_config(), 7, seed=0)
