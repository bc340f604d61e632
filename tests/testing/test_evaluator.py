"""The evaluator: that it finds what scoring and ranking everything at once would find."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.config import Evaluation
from bench.errors import CellFailed
from bench.network.matcher import Matcher
from bench.testing.blocks import block_shape, score_all
from bench.testing.evaluator import evaluate, pixel_baseline
from bench.testing.metrics import rank_metrics
from variants._laws import make, maps


@pytest.fixture
def model(pooling_model) -> Matcher:
    return pooling_model()


def test_results_are_those_of_scoring_everything_at_once(model, small_dataset):
    dataset, images = small_dataset
    found = evaluate(model, dataset, images, Evaluation())
    features = model.encode_all(images, np.arange(len(images)), 64)
    with torch.no_grad():
        scores = model.head.match(features[:6], features[6:])
    arrays = [
        np.array([getattr(r, key) for r in part])
        for key in ("person", "camera")
        for part in (dataset.query, dataset.gallery)
    ]
    expected = rank_metrics(-scores.numpy(), arrays[0], arrays[1], arrays[2], arrays[3])
    assert found.mAP == pytest.approx(expected.mAP) and found.rank1 == expected.rank1
    assert found.first_rank == expected.queries.first_rank.tolist()
    assert found.pairs == 6 * 42 and set(found.seconds) == {"encoding", "matching", "ranking"}


@pytest.mark.parametrize("pairs", [1, 2, 3, 7, 12, 1000])
def test_blocks_hold_no_more_pairs_than_fit(pairs):
    head = make("transmatcher", {})
    rows, columns = block_shape(head, 5, 7, pairs * head.pair_bytes())
    assert 1 <= rows * columns <= pairs and rows <= 5 and columns <= 7
    query, gallery = head.encode(maps(5, 1)), head.encode(maps(7, 2))
    scores = score_all(head, query, gallery, pairs * head.pair_bytes())
    torch.testing.assert_close(scores, head.match(query, gallery), rtol=1e-4, atol=1e-5)


def test_nan_scores_end_the_run_with_their_reason(model, small_dataset):
    dataset, images = small_dataset
    with torch.no_grad():
        model.head.norm.weight.fill_(torch.nan)
    with pytest.raises(CellFailed, match="small: some scores are NaN"):
        evaluate(model, dataset, images, Evaluation())


def test_chance_and_pixels_are_told(model, small_dataset):
    dataset, images = small_dataset
    found = evaluate(model, dataset, images, Evaluation(), baselines=True)
    assert found.pixels == pixel_baseline(dataset, images) and found.pixels.mAP > 0.9  # plain colours are easy
    assert 0.1 < found.chance.mAP < 0.4
