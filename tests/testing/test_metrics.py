"""Rank-1, CMC and mAP against cases worked out by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from bench.testing.metrics import QueryRanks, chance_level, rank_metrics, rank_queries, summarise


def metrics(distance, query_ids, gallery_ids, query_cams=None, gallery_cams=None):
    query_cams = query_cams if query_cams is not None else [0] * len(query_ids)
    gallery_cams = gallery_cams if gallery_cams is not None else [1] * len(gallery_ids)
    arrays = map(np.array, (query_ids, gallery_ids, query_cams, gallery_cams))
    return rank_metrics(np.array(distance, dtype=float), *arrays)


def test_one_query_by_hand():
    found = metrics([[0.1, 0.2, 0.3, 0.4]], [7], [1, 7, 2, 7])
    assert found.rank1 == 0
    assert found.cmc[:3].tolist() == [0, 1, 1]
    assert found.mAP == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert found.queries.first_rank.tolist() == [2]


def test_the_trapezoid_form_by_hand():
    found = metrics([[0.1, 0.2, 0.3, 0.4]], [7], [1, 7, 2, 7])
    assert found.mAP_trapezoid == pytest.approx(((0 / 1 + 1 / 2) / 2 + (1 / 3 + 2 / 4) / 2) / 2)
    first = metrics([[0.1, 0.2]], [7], [7, 1])
    assert first.mAP_trapezoid == 1


def test_same_camera_images_of_the_person_are_left_out():
    found = metrics([[0.1, 0.2, 0.3]], [7], [7, 1, 7], [0], [0, 0, 1])
    assert found.rank1 == 0 and found.mAP == pytest.approx(1 / 2)
    assert found.queries.gallery_left.tolist() == [2]


def test_other_persons_of_the_same_camera_stay():
    assert metrics([[0.1, 0.2]], [7], [1, 7], [0], [0, 1]).rank1 == 0


def test_a_query_without_a_match_left_counts_nowhere():
    found = metrics([[0.1, 0.2], [0.1, 0.2]], [7, 8], [7, 1])
    assert found.queries.index.tolist() == [0] and found.rank1 == 1


def test_among_equal_scores_negatives_come_first():
    assert metrics([[0.5, 0.5]], [7], [7, 1]).rank1 == 0
    assert metrics([[0.5, 0.5]], [7], [1, 7]).rank1 == 0


def test_equal_scores_are_one_threshold_for_average_precision():
    assert metrics([[0.5, 0.5, 0.5]], [7], [7, 1, 2]).mAP == pytest.approx(1 / 3)


def test_all_matches_on_the_querys_camera_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="every match is the query's own camera's"):
        metrics([[0.1]], [7], [7], [0], [0])


def test_nan_is_an_error():
    with pytest.raises(ValueError, match="NaN"):
        metrics([[0.1, np.nan]], [7], [7, 1])


def test_shapes_that_do_not_fit_are_an_error():
    with pytest.raises(ValueError, match="1 queries, 3 images"):
        metrics([[0.1, 0.2]], [7], [7, 1, 1])


def test_infinite_scores_are_ranked():
    assert metrics([[-np.inf, 0.0, np.inf]], [7], [7, 1, 1]).rank1 == 1


cases = st.integers(2, 40).flatmap(
    lambda gallery: st.tuples(
        st.lists(st.lists(st.integers(0, 6), min_size=gallery, max_size=gallery), min_size=1, max_size=6),
        st.lists(st.integers(0, 3), min_size=gallery, max_size=gallery),
        st.lists(st.integers(0, 2), min_size=gallery, max_size=gallery),
        st.randoms(use_true_random=False),
    )
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(cases)
def test_agrees_with_scikit_learn_ties_included(case):
    rows, gallery_ids, gallery_cams, draws = case
    distance = np.array(rows, dtype=float)
    query_ids = np.array([draws.randint(0, 3) for _ in rows])
    query_cams = np.array([draws.randint(0, 2) for _ in rows])
    gallery_ids, gallery_cams = np.array(gallery_ids), np.array(gallery_cams)
    found = rank_queries(-distance, query_ids, gallery_ids, query_cams, gallery_cams)
    expected, ranks, index = [], [], []
    for q, row in enumerate(distance):
        left = ~((gallery_ids == query_ids[q]) & (gallery_cams == query_cams[q]))
        match = gallery_ids[left] == query_ids[q]
        if match.any():
            index.append(q)
            expected.append(average_precision_score(match, -row[left]))
            order = np.lexsort((match, row[left]))  # equal distances: negatives first
            ranks.append(int(np.flatnonzero(match[order])[0]) + 1)
    assert found.index.tolist() == index
    np.testing.assert_allclose(found.average_precision, expected, atol=1e-9)
    assert found.first_rank.tolist() == ranks


def test_ranking_in_chunks_equals_ranking_at_once():
    draws = np.random.default_rng(0)
    scores = draws.normal(size=(9, 50))
    ids, cams = draws.integers(0, 5, 9), draws.integers(0, 2, 9)
    gallery = draws.integers(0, 5, 50), draws.integers(0, 2, 50)
    whole = rank_queries(scores, ids, gallery[0], cams, gallery[1])
    parts = [
        rank_queries(scores[i : i + 4], ids[i : i + 4], gallery[0], cams[i : i + 4], gallery[1], i) for i in (0, 4, 8)
    ]
    joined = QueryRanks.join(parts)
    for name in QueryRanks.__dataclass_fields__:
        assert np.array_equal(getattr(whole, name), getattr(joined, name))


def test_chance_level_is_what_random_scores_reach():
    draws = np.random.default_rng(1)
    gallery_ids, gallery_cams = draws.integers(0, 4, 30), draws.integers(0, 3, 30)
    query_ids, query_cams = draws.integers(0, 4, 5), draws.integers(0, 3, 5)
    found = [
        summarise(rank_queries(draws.random((5, 30)), query_ids, gallery_ids, query_cams, gallery_cams))
        for _ in range(4000)
    ]
    rank1, mean_ap = chance_level(found[0].queries)
    assert np.mean([item.rank1 for item in found]) == pytest.approx(rank1, abs=0.012)
    assert np.mean([item.mAP for item in found]) == pytest.approx(mean_ap, abs=0.006)
