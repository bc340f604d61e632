"""The graph sampler: what every epoch's batches have in common."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.training.sampler import GraphSampler


@st.composite
def samplers(draw) -> tuple[GraphSampler, np.ndarray, int, int]:
    counts = draw(st.lists(st.integers(1, 9), min_size=2, max_size=12))
    ids = np.repeat(np.arange(len(counts)) * 3 + 5, counts)
    ids = np.random.default_rng(draw(st.integers(0, 99))).permutation(ids)
    persons, images = draw(st.integers(2, 6)), draw(st.integers(2, 5))
    return GraphSampler(ids, persons, images, draw(st.integers(0, 5))), ids, persons, images


def scores_of(sampler: GraphSampler, seed: int = 0) -> np.ndarray:
    count = len(sampler.people)
    return np.random.default_rng(seed).normal(size=(count, count))


def batches_of(sampler: GraphSampler, epoch: int, scores: np.ndarray) -> np.ndarray:
    return sampler.epoch(epoch, sampler.neighbours(scores))


@settings(max_examples=100, deadline=None)
@given(samplers())
def test_an_epoch_has_one_batch_per_person_of_p_persons_with_k_images(case):
    sampler, ids, persons, images = case
    batches = batches_of(sampler, 0, scores_of(sampler))
    people = len(np.unique(ids))
    expected = min(persons, people)
    assert batches.shape == (people, expected * images)
    for batch in batches:
        found, counts = np.unique(ids[batch], return_counts=True)
        assert len(found) == expected and (counts == images).all()


@settings(max_examples=100, deadline=None)
@given(samplers())
def test_every_person_leads_one_batch_with_its_nearest_others(case):
    sampler, ids, _, images = case
    scores = scores_of(sampler)
    batches = batches_of(sampler, 0, scores)
    people = np.unique(ids)
    leaders = [np.flatnonzero(people == ids[batch[0]])[0] for batch in batches]
    assert sorted(leaders) == list(range(len(people)))
    for leader, batch in zip(leaders, batches, strict=True):
        others = np.delete(np.arange(len(people)), leader)
        nearest = others[np.argsort(-scores[leader, others], kind="stable")][: sampler.persons - 1]
        assert [people[n] for n in nearest] == ids[batch[images::images]].tolist()


@settings(max_examples=100, deadline=None)
@given(samplers())
def test_images_repeat_in_a_hand_only_if_a_person_has_too_few(case):
    sampler, ids, _, images = case
    for batch in batches_of(sampler, 0, scores_of(sampler)):
        for hand in batch.reshape(-1, images):
            assert len(set(hand)) == min(images, (ids == ids[hand[0]]).sum())


@settings(max_examples=50, deadline=None)
@given(samplers(), st.integers(1, 12))
def test_all_images_of_a_person_are_dealt_equally_often(case, hands):
    sampler, ids, _, images = case
    dealt = np.bincount(np.concatenate([sampler.deal(0) for _ in range(hands)]), minlength=len(ids))
    counts = dealt[ids == sampler.people[0]]
    assert counts.sum() == hands * images and counts.max() - counts.min() <= 1


def test_batches_are_a_function_of_seed_and_epoch_and_the_deals():
    ids = np.repeat(np.arange(6), 5)
    one, same, other = (GraphSampler(ids, 4, 2, seed) for seed in (1, 1, 2))
    scores = scores_of(one)
    assert np.array_equal(batches_of(one, 0, scores), batches_of(same, 0, scores))
    assert not np.array_equal(
        batches_of(GraphSampler(ids, 4, 2, 1), 1, scores), batches_of(GraphSampler(ids, 4, 2, 1), 0, scores)
    )
    assert not np.array_equal(batches_of(GraphSampler(ids, 4, 2, 1), 0, scores), batches_of(other, 0, scores))


def test_a_restored_sampler_goes_on_as_if_never_interrupted():
    ids = np.repeat(np.arange(6), 5)
    sampler = GraphSampler(ids, 4, 2, 1)
    scores = scores_of(sampler)
    batches_of(sampler, 0, scores)
    restored = GraphSampler(ids, 4, 2, 1)
    restored.load_state_dict(copy.deepcopy(sampler.state_dict()))
    assert np.array_equal(batches_of(restored, 1, scores), batches_of(sampler, 1, scores))


def test_representatives_are_one_image_of_each_person_and_change_with_the_epoch():
    ids = np.repeat(np.arange(40), 5)
    sampler = GraphSampler(ids, 4, 2, 1)
    first, second = sampler.representatives(0), sampler.representatives(1)
    assert ids[first].tolist() == list(range(40))
    assert not np.array_equal(first, second)


def test_one_person_alone_cannot_be_sampled():
    with pytest.raises(ValueError, match="at least two persons"):
        GraphSampler(np.zeros(4, dtype=int), 4, 2, 0)


def test_neighbours_are_the_same_whether_scores_come_at_once_or_in_chunks():
    sampler = GraphSampler(np.repeat(np.arange(9), 2), 4, 2, 0)
    scores = np.random.default_rng(0).integers(0, 3, (9, 9)).astype(np.float32)  # many ties
    parts = [sampler.neighbours(scores[first : first + 4], first) for first in (0, 4, 8)]
    np.testing.assert_array_equal(np.concatenate(parts), sampler.neighbours(scores))
    assert sampler.neighbours(scores)[:, 0].tolist() == list(range(9))


def test_an_epoch_can_know_a_random_part_of_the_persons_only():
    ids = np.repeat(np.arange(40) * 2, 5)
    sampler, scores = GraphSampler(ids, 4, 2, 1, among=10), np.random.default_rng(0).normal(size=(10, 10))
    known = [sampler.known(epoch) for epoch in (0, 0, 1)]
    assert np.array_equal(known[0], known[1]) and not np.array_equal(known[0], known[2])
    assert ids[sampler.representatives(0)].tolist() == (2 * known[0]).tolist()
    batches = sampler.epoch(0, sampler.neighbours(scores))
    assert batches.shape == (10, 8)
    assert sorted(ids[batches[:, 0]]) == (2 * known[0]).tolist()
    others = np.where(np.eye(10, dtype=bool), -np.inf, scores)
    for batch in batches:
        leader = int(np.flatnonzero(2 * known[0] == ids[batch[0]])[0])
        assert ids[batch[2]] == 2 * known[0][np.argmax(others[leader])]


def test_more_persons_than_there_are_is_all_of_them():
    ids = np.repeat(np.arange(6), 5)
    part, whole = GraphSampler(ids, 4, 2, 1, among=7), GraphSampler(ids, 4, 2, 1)
    scores = scores_of(whole)
    assert np.array_equal(batches_of(part, 0, scores), batches_of(whole, 0, scores))
