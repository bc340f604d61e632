"""The rank of a query's last match, mINP, and what a record keeps of each query."""

from __future__ import annotations

import numpy as np
import pytest

from bench.config import Evaluation
from bench.journal.record import TestResult as Result
from bench.network.matcher import Matcher
from bench.testing.evaluator import evaluate
from bench.testing.metrics import rank_metrics, rank_queries
from bench.testing.partial import PartialTest


def test_minp_by_hand():
    """Matches at ranks 2 and 4: of two matches the last is fourth."""
    found = rank_metrics(np.array([[0.1, 0.2, 0.3, 0.4]]), *map(np.array, ([7], [1, 7, 2, 7], [0], [1, 1, 1, 1])))
    assert found.mINP == pytest.approx(2 / 4)
    assert (found.queries.last_rank.tolist(), found.queries.matches_left.tolist()) == ([4], [2])
    assert (found.queries.person.tolist(), found.queries.camera.tolist()) == ([7], [0])


def test_among_equal_scores_the_last_match_comes_behind_the_negatives():
    found = rank_queries(np.zeros((1, 4)), *map(np.array, ([7], [7, 1, 7, 2], [0], [1, 1, 1, 1])))
    assert found.last_rank.tolist() == [4]


def test_with_one_match_minp_is_one_over_its_rank_and_so_is_average_precision():
    draws = np.random.default_rng(0)
    persons = np.arange(12)
    found = rank_metrics(draws.random((12, 12)), persons, persons, np.zeros(12, int), np.ones(12, int))
    assert (
        found.mINP == pytest.approx(found.mAP) and found.queries.last_rank.tolist() == found.queries.first_rank.tolist()
    )


def test_a_result_keeps_person_camera_and_last_match_of_each_query_that_counts(tiny_config, small_dataset):
    dataset, images = small_dataset
    result = evaluate(Matcher(tiny_config(), "transmatcher", None).eval(), dataset, images, Evaluation(batch=5))
    counted = [dataset.query[at] for at in result.query_index]
    assert result.query_person == [record.person for record in counted]
    assert result.query_camera == [record.camera for record in counted]
    found = [matches / last for matches, last in zip(result.matches, result.last_rank, strict=True)]
    assert result.mINP == pytest.approx(np.mean(found)) and all(0 < value <= 1 for value in found)


def test_older_results_are_read_and_say_that_they_do_not_know(tiny_config, small_dataset):
    dataset, images = small_dataset
    result = evaluate(Matcher(tiny_config(), "transmatcher", None).eval(), dataset, images, Evaluation(batch=5))
    new = {"query_person", "query_camera", "matches", "last_rank", "mINP"}
    old = Result.model_validate_json(result.model_dump_json(exclude=new))
    assert old.mINP is None and old.last_rank == [] and old.average_precision == result.average_precision


def test_a_half_done_test_of_an_earlier_version_is_done_anew(tmp_path):
    partial = PartialTest(tmp_path / "partial.npz", "key")
    ranks = rank_queries(np.zeros((1, 2)), *map(np.array, ([7], [7, 1], [0], [1, 1])))
    partial.save(1, ranks, {"ranking": 1.0})
    assert partial.load()[1].last_rank.tolist() == [2]
    with np.load(partial.path) as file:
        older = {name: file[name] for name in file if name != "last_rank"}
    np.savez(partial.path, **older)
    assert partial.load() == (0, None, {})
