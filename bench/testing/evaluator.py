"""Testing a network on a data set: encode, score, rank, within a memory budget (PROTOCOL, section 4)."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from bench.config import Evaluation, digest
from bench.data import Dataset
from bench.data.tensors import Images, pick, to_float
from bench.errors import CellFailed
from bench.journal.heartbeat import Place
from bench.journal.pulse import Pulse
from bench.journal.record import Level, TestResult
from bench.network.matcher import Matcher
from bench.progress import QUIET, Progress
from bench.stopwatch import Stopwatch, peak_bytes, reset_peak
from bench.testing.again import OtherNumbers, kept
from bench.testing.lists import Lists, ListSpool, store_split_lists
from bench.testing.metrics import QueryRanks, RankMetrics, chance_level, summarise
from bench.testing.partial import PartialRows, PartialTest
from bench.testing.ranking import Ranker, rank_chunk
from bench.testing.score_log import PartialChunk
from bench.testing.scoring import Scorer
from bench.testing.splits import rank_splits, score_sides, split_results

PIXEL_GRID = (8, 4)
"""Cells, high x wide, over which the pooled-pixel baseline averages colours."""


def evaluate(
    model: Matcher,
    dataset: Dataset,
    images: Images,
    settings: Evaluation,
    state: str = "trained",
    baselines: bool = False,
    progress: Progress = QUIET,
    folder: Path | None = None,
    pulse: Pulse | None = None,
    data_dir: Path | None = None,
    earlier: TestResult | None = None,
    parts: int = 1,
) -> TestResult:
    """Test a network on the query and gallery of a data set; `images` holds its test images (`split_records`).

    On a set of several splits all is encoded and scored once, and the result is the mean over the splits. In `folder`
    lies what a test needs to go on after an interruption, and what memory does not hold. With a `data_dir` as well the
    ranked lists of the trained network are stored in `folder`, with paths below `data_dir`. An `earlier` result is
    returned with these lists, and with what it lacks. Blocks of pairs are cut into `parts` from the beginning.

    Raises CellFailed for scores that are NaN, or when the same-camera rule leaves no query a match; OtherNumbers, with
    nothing replaced, where `earlier` has other numbers.
    """
    queries, gallery = len(dataset.query), len(dataset.gallery)
    pulse = pulse or Pulse()
    watch = Stopwatch(model.device)
    reset_peak(model.device)
    key = digest([model.weights_hash(), dataset.fingerprint, settings.model_dump()]) if folder else ""
    what = f"test {dataset.name}" + ("" if state == "trained" else f" ({state})")
    pairs = queries * gallery * (2 if dataset.both_ways else 1)
    pulse.enter(Place(phase="testing", what=what.removeprefix("test "), total=pairs))
    keeps = folder is not None and data_dir is not None and state == "trained"
    of_splits: list[Lists] | None = [] if keeps else None
    with pulse.interruption.deferred():
        scorer = Scorer(
            model, images, *_sides(dataset), settings, watch, folder, pulse, key, progress, dataset.both_ways
        )
        scorer.blocks.parts = parts
        if not scorer.plan.trivial:
            progress.say(f"{what}: {scorer.plan}")
        partial = _partial(dataset, folder, state, key, keeps) if folder else None
        if dataset.splits:
            scores = score_sides(scorer, partial, pulse, watch, progress, what)
            with watch.phase("ranking"):
                ranks = rank_splits(dataset, scores, of_splits)
        else:
            ranks = [_rank_all(scorer, dataset, partial, pulse, watch, progress, what)]
    result = _result(dataset, ranks, state, pixel_baseline(dataset, images) if baselines else None)
    digest_of_lists = ""
    try:
        result = kept(earlier, result) if earlier is not None else result
        if keeps:
            with watch.phase("ranking"):
                digest_of_lists = (
                    store_split_lists(dataset, of_splits, data_dir, folder)
                    if dataset.splits
                    else partial.lists.store(dataset, data_dir, folder)
                )
    except OtherNumbers:
        _forget(partial, scorer)
        raise
    measured = {
        "seconds": watch.seconds,
        "peak_bytes": peak_bytes(model.device),
        "pairs": queries * gallery if model.head.symmetric else pairs,
        "block_parts": scorer.blocks.parts,
    }
    _forget(partial, scorer)
    return result.model_copy(update={"lists": digest_of_lists, **(measured if earlier is None else {})})


def _partial(dataset: Dataset, folder: Path, state: str, key: str, keeps: bool) -> PartialTest | PartialRows:
    """Where a test under way is stored; `keeps` tells whether its ranked lists are."""
    start = folder / f"partial-{dataset.name}"
    if dataset.splits:
        return PartialRows(start.with_name(f"{start.name}-{state}.npz"), key)
    spool = ListSpool(start.with_name(f"{start.name}.lists")) if keeps else None
    return PartialTest(start.with_name(f"{start.name}-{state}.npz"), key, spool)


def _forget(partial: PartialTest | PartialRows | None, scorer: Scorer) -> None:
    if partial is not None:
        partial.delete()
    scorer.close()


def _result(dataset: Dataset, ranks: list[QueryRanks], state: str, pixels: Level | None) -> TestResult:
    """What follows from the ranks, without what was measured of the test itself."""
    metrics = [_summarise(part, dataset) for part in ranks]
    whole = QueryRanks.join(ranks)
    return TestResult(
        test=dataset.name,
        state=state,
        **_means(metrics),
        cmc=np.mean([part.cmc for part in metrics], axis=0).tolist(),
        query_index=whole.index.tolist(),
        first_rank=whole.first_rank.tolist(),
        average_precision=whole.average_precision.tolist(),
        query_person=whole.person.tolist(),
        query_camera=whole.camera.tolist(),
        matches=whole.matches_left.tolist(),
        last_rank=whole.last_rank.tolist(),
        gallery_images=len(dataset.gallery),
        chance=_chance(ranks),
        pixels=pixels,
        fingerprint=dataset.fingerprint,
        standin=dataset.standin,
        seconds={},
        peak_bytes=0,
        pairs=0,
        splits=split_results(dataset, ranks, metrics) if dataset.splits else [],
        split_source=dataset.split_source,
        left_out=[*dataset.left_out],
    )


def _sides(dataset: Dataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of queries and gallery among the test images; one and the same array where both are the same images."""
    query, gallery = (np.array(side, np.int64) for side in dataset.sides)
    return (query, query) if dataset.one_side else (query, gallery)


def _chance(ranks: list[QueryRanks]) -> Level:
    chance = [chance_level(part) for part in ranks]
    return Level(rank1=fmean(rank1 for rank1, _ in chance), mAP=fmean(mAP for _, mAP in chance))


def _means(metrics: list[RankMetrics]) -> dict[str, float]:
    return {name: fmean(getattr(part, name) for part in metrics) for name in ("rank1", "mAP", "mAP_trapezoid", "mINP")}


def pixel_baseline(dataset: Dataset, images: NDArray[np.uint8]) -> Level:
    """Cosine of colours averaged over an 8 x 4 grid: what can be had without any network."""
    pooled = []
    for start in range(0, len(images), 256):
        batch = to_float(pick(images, np.arange(start, min(start + 256, len(images)))), torch.device("cpu"))
        pooled.append(F.normalize(F.adaptive_avg_pool2d(batch, PIXEL_GRID).flatten(1), dim=1))
    features = torch.cat(pooled)
    query, gallery = _sides(dataset)
    if dataset.splits:
        scores = (features[query] @ features[gallery].T).numpy()
        scores = np.stack((scores, scores), axis=1) if dataset.both_ways else scores
        metrics = _means([_summarise(ranks, dataset) for ranks in rank_splits(dataset, scores)])
        return Level(rank1=metrics["rank1"], mAP=metrics["mAP"])
    parts = []
    queries = len(dataset.query)
    for start in range(0, queries, 256):
        chunk = slice(start, min(start + 256, queries))
        parts.append(rank_chunk(dataset, (features[query[chunk]] @ features[gallery].T).numpy(), start))
    metrics = _summarise(QueryRanks.join(parts), dataset)
    return Level(rank1=metrics.rank1, mAP=metrics.mAP)


def _rank_all(
    scorer: Scorer,
    dataset: Dataset,
    partial: PartialTest | None,
    pulse: Pulse,
    watch: Stopwatch,
    progress: Progress,
    what: str,
) -> QueryRanks:
    """The ranks of all queries, from where `partial` left off; it is told of each finished chunk."""
    queries, gallery = len(dataset.query), len(dataset.gallery)
    done, ranks, seconds = partial.load() if partial else (0, None, {})
    watch.add(seconds)
    pulse.advance(done * gallery)
    beside, spool = scorer.plan.buffers > 1, partial.lists if partial else None
    with Ranker(dataset, watch, beside, done, ranks, spool) as ranker:

        def keep(unfinished: PartialChunk | None = None) -> str:
            ranker.wait()
            partial.save(ranker.done, ranker.ranks, watch.so_far(), unfinished)
            return f"{what} {unfinished.place if unfinished is not None else f'query {ranker.done}'}"

        fill, save = (partial.log.fill, keep) if partial else (None, None)
        with progress.bar(queries * gallery, what, "pair", done * gallery) as bar:
            for start, scores in scorer.chunks(done, fill, bar.update, save):
                ranker.rank(start, scores)
                # What is ranked beside matching is stored when it is next time to save.
                if partial and not beside and ranker.done < queries:
                    pulse.save(keep)
        ranker.wait()
    return ranker.ranks


def _summarise(ranks: QueryRanks, dataset: Dataset) -> RankMetrics:
    try:
        return summarise(ranks)
    except ValueError as fault:
        raise CellFailed(f"{dataset.name}: {fault}") from fault
