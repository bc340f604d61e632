"""Seconds of the metrics at Market-1501's size, beside scikit-learn's average precision query by query."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.testing.metrics import rank_metrics

MARKET_QUERIES, MARKET_GALLERY = 3_368, 15_913
MARKET_PERSONS, MARKET_CAMERAS = 751, 6


@dataclass(frozen=True)
class RankingSpeed:
    """Seconds by repeat, timed in turn; the suite's include Rank-1 and CMC, the other's are the mean AP alone."""

    name: str
    queries: int
    gallery: int
    suite_seconds: tuple[float, ...]
    scikit_seconds: tuple[float, ...]
    suite_mAP: float
    scikit_mAP: float

    @property
    def ratio(self) -> float:
        """How many times faster the suite is."""
        return statistics.median(self.scikit_seconds) / statistics.median(self.suite_seconds)


@dataclass(frozen=True)
class _Scores:
    distance: NDArray[np.float32]
    query_ids: NDArray[np.int64]
    gallery_ids: NDArray[np.int64]
    query_cams: NDArray[np.int64]
    gallery_cams: NDArray[np.int64]


def measure_ranking(
    queries: int = MARKET_QUERIES, gallery: int = MARKET_GALLERY, repeats: int = 3, seed: int = 0
) -> RankingSpeed:
    """Both on the same made-up distances. Raises UserError if scikit-learn is not installed."""
    try:
        from sklearn.metrics import average_precision_score
    except ImportError as fault:
        raise UserError("this comparison needs scikit-learn: pip install scikit-learn") from fault
    scores = _draw(queries, gallery, seed)

    def scikit() -> float:
        found = []
        for row, person, camera in zip(scores.distance, scores.query_ids, scores.query_cams, strict=True):
            same = scores.gallery_ids == person
            left = ~(same & (scores.gallery_cams == camera))
            if same[left].any():
                found.append(average_precision_score(same[left], -row[left]))
        return float(np.mean(found))

    def suite() -> float:
        return rank_metrics(
            scores.distance, scores.query_ids, scores.gallery_ids, scores.query_cams, scores.gallery_cams
        ).mAP

    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(repeats):
        start = time.perf_counter()
        suite_map = suite()
        middle = time.perf_counter()
        scikit_map = scikit()
        ours.append(middle - start)
        theirs.append(time.perf_counter() - middle)
    return RankingSpeed("metrics", queries, gallery, tuple(ours), tuple(theirs), suite_map, scikit_map)


def _draw(queries: int, gallery: int, seed: int) -> _Scores:
    draws = np.random.default_rng(seed)
    return _Scores(
        draws.random((queries, gallery), dtype=np.float32),
        draws.integers(0, MARKET_PERSONS, queries),
        draws.integers(0, MARKET_PERSONS, gallery),
        draws.integers(0, MARKET_CAMERAS, queries),
        draws.integers(0, MARKET_CAMERAS, gallery),
    )
