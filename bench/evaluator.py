"""Testing a network on a data set: encode, score, rank, within a memory budget (PROTOCOL, section 4)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from bench.augment import to_float
from bench.config import Evaluation, digest
from bench.data import Dataset
from bench.data.images import pick
from bench.errors import CellFailed
from bench.metrics import QueryRanks, RankMetrics, chance_level, rank_queries, summarise
from bench.model import Matcher
from bench.partial import PartialTest
from bench.progress import QUIET, Progress
from bench.records import Level, TestResult
from bench.scoring import Scorer, ScoringPlan
from bench.stopwatch import Stopwatch, peak_bytes, reset_peak

PIXEL_GRID = (8, 4)
"""Cells, high x wide, over which the pooled-pixel baseline averages colours."""


def evaluate(
    model: Matcher,
    dataset: Dataset,
    images: NDArray[np.uint8],
    settings: Evaluation,
    state: str = "trained",
    baselines: bool = False,
    progress: Progress = QUIET,
    folder: Path | None = None,
) -> TestResult:
    """Test a network on the query and gallery of a data set; `images` holds the queries, then the gallery.

    In `folder` lies what a test needs to go on after an interruption, and what memory does not hold.

    Raises CellFailed for scores that are NaN, or when the same-camera rule leaves no query a match.
    """
    queries, gallery = len(dataset.query), len(dataset.gallery)
    watch = Stopwatch(model.device)
    reset_peak(model.device)
    positions = np.arange(queries + gallery)
    scorer = Scorer(model, images, positions[:queries], positions[queries:], settings, watch, folder, progress)
    what = f"test {dataset.name}" + ("" if state == "trained" else f" ({state})")
    if not scorer.plan.trivial:
        progress.say(f"{what}: {scorer.plan}")
    partial = _partial(folder, model, dataset, state, scorer.plan)
    done, ranks, seconds = partial.load() if partial else (0, None, {})
    watch.add(seconds)
    with progress.bar(queries * gallery, what, "pair", done * gallery) as bar:
        for start, scores in scorer.chunks(done, bar.update):
            with watch.phase("ranking"):
                found = _rank_chunk(dataset, scores.numpy(), start)
                ranks = found if ranks is None else QueryRanks.join([ranks, found])
            if partial and start + len(scores) < queries:
                partial.save(start + len(scores), ranks, watch.seconds)
    metrics = _summarise(ranks, dataset)
    chance_rank1, chance_map = chance_level(ranks)
    result = TestResult(
        test=dataset.name,
        state=state,
        rank1=metrics.rank1,
        mAP=metrics.mAP,
        mAP_trapezoid=metrics.mAP_trapezoid,
        cmc=metrics.cmc.tolist(),
        query_index=ranks.index.tolist(),
        first_rank=ranks.first_rank.tolist(),
        average_precision=ranks.average_precision.tolist(),
        gallery_images=gallery,
        chance=Level(rank1=chance_rank1, mAP=chance_map),
        pixels=pixel_baseline(dataset, images) if baselines else None,
        fingerprint=dataset.fingerprint,
        standin=dataset.standin,
        seconds=watch.seconds,
        peak_bytes=peak_bytes(model.device),
        pairs=queries * gallery,
    )
    if partial:
        partial.delete()
    return result


def pixel_baseline(dataset: Dataset, images: NDArray[np.uint8]) -> Level:
    """Cosine of colours averaged over an 8 x 4 grid: what can be had without any network."""
    pooled = []
    for start in range(0, len(images), 256):
        batch = to_float(pick(images, np.arange(start, min(start + 256, len(images)))), torch.device("cpu"))
        pooled.append(F.normalize(F.adaptive_avg_pool2d(batch, PIXEL_GRID).flatten(1), dim=1))
    features = torch.cat(pooled)
    parts = []
    queries = len(dataset.query)
    for start in range(0, queries, 256):
        chunk = slice(start, min(start + 256, queries))
        parts.append(_rank_chunk(dataset, (features[chunk] @ features[queries:].T).numpy(), start))
    metrics = _summarise(QueryRanks.join(parts), dataset)
    return Level(rank1=metrics.rank1, mAP=metrics.mAP)


def _partial(
    folder: Path | None, model: Matcher, dataset: Dataset, state: str, plan: ScoringPlan
) -> PartialTest | None:
    if folder is None:
        return None
    key = digest([model.weights_hash(), dataset.fingerprint, plan.query_chunk])
    return PartialTest(folder / f"partial-{dataset.name}-{state}.npz", key)


def _rank_chunk(dataset: Dataset, scores: NDArray, start: int) -> QueryRanks:
    chunk = dataset.query[start : start + len(scores)]
    try:
        return rank_queries(
            scores,
            np.array([record.person for record in chunk]),
            np.array([record.person for record in dataset.gallery]),
            np.array([record.camera for record in chunk]),
            np.array([record.camera for record in dataset.gallery]),
            first_index=start,
        )
    except ValueError as fault:
        raise CellFailed(f"{dataset.name}: {fault}") from fault


def _summarise(ranks: QueryRanks, dataset: Dataset) -> RankMetrics:
    try:
        return summarise(ranks)
    except ValueError as fault:
        raise CellFailed(f"{dataset.name}: {fault}") from fault
