"""Small sets: all images of one side are scored against all of the other once, and each split is a piece of that."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.data import Dataset, ImageRecord, Split
from bench.errors import CellFailed
from bench.journal.pulse import Pulse
from bench.journal.record import SplitResult
from bench.progress import Progress
from bench.stopwatch import Stopwatch
from bench.testing.lists import Lists, listed_splits
from bench.testing.metrics import QueryRanks, RankMetrics, rank_queries
from bench.testing.partial import PartialRows
from bench.testing.score_log import PartialChunk
from bench.testing.scoring import Scorer


def score_sides(
    scorer: Scorer, partial: PartialRows | None, pulse: Pulse, watch: Stopwatch, progress: Progress, what: str
) -> NDArray[np.float32]:
    """All scores of a set, as `Scorer.chunks` lays them out, from where `partial` left off.

    They are kept in memory whole, beside the budget: a few MiB, as these sets have some hundred images a side.
    """
    rows, seconds = partial.load() if partial else (None, {})
    watch.add(seconds)
    parts = [rows] if rows is not None and len(rows) else []
    done = sum(map(len, parts))
    pairs_per_query = len(scorer.gallery) * (2 if scorer.both_ways else 1)
    pulse.advance(done * pairs_per_query)

    def keep(unfinished: PartialChunk | None = None) -> str:
        finished = np.concatenate(parts) if parts else np.empty((0, len(scorer.gallery)), np.float32)
        partial.save(finished, watch.so_far(), unfinished)
        return f"{what} {unfinished.place if unfinished is not None else f'query {done}'}"

    fill, save = (partial.log.fill, keep) if partial else (None, None)
    with progress.bar(len(scorer.query) * pairs_per_query, what, "pair", done * pairs_per_query) as bar:
        for start, scores in scorer.chunks(done, fill, bar.update, save):
            parts.append(scores.numpy().copy())
            done = start + len(scores)
            if partial and done < len(scorer.query):
                pulse.save(keep)
    return np.concatenate(parts)


def rank_splits(dataset: Dataset, scores: NDArray, lists: list[Lists] | None = None) -> list[QueryRanks]:
    """The ranks of each split's queries from the scores of all, [Q, G], or [Q, 2, G] for a set tested both ways.

    `lists` is given the ranked lists of the splits that `listed_splits` names, with positions in the split's own lists.
    Raises CellFailed for scores that are NaN, or a split without a query that has a match.
    """
    keeps = {id(split): Lists() for split in listed_splits(dataset)} if lists is not None else {}
    ranks = [_rank_split(dataset, split, scores, keeps.get(id(split))) for split in dataset.splits]
    if lists is not None:
        lists += keeps.values()
    return ranks


def split_results(dataset: Dataset, ranks: Sequence[QueryRanks], metrics: Sequence[RankMetrics]) -> list[SplitResult]:
    """What the record keeps of each split; [] for a set that has none."""
    return [
        SplitResult(
            split=split.number,
            swapped=split.swapped,
            rank1=found.rank1,
            mAP=found.mAP,
            mAP_trapezoid=found.mAP_trapezoid,
            mINP=found.mINP,
            cmc=found.cmc.tolist(),
            queries=len(own.index),
            gallery_images=len(split.query if split.swapped else split.gallery),
        )
        for split, own, found in zip(dataset.splits, ranks, metrics, strict=False)
    ]


def _rank_split(dataset: Dataset, split: Split, scores: NDArray, lists: Lists | None) -> QueryRanks:
    query, gallery = np.array(split.query), np.array(split.gallery)
    sides = [dataset.query[at] for at in split.query], [dataset.gallery[at] for at in split.gallery]
    one_way = scores[:, int(split.swapped)] if scores.ndim == 3 else scores
    piece = one_way[np.ix_(query, gallery)]
    if split.swapped:
        query, piece, sides = gallery, piece.T, sides[::-1]
    ids, cameras = (tuple(_of(side, key) for side in sides) for key in ("person", "camera"))
    try:
        ranks = rank_queries(piece, *ids, *cameras, lists=lists)
        if len(ranks.index) == 0:
            raise ValueError("no query has a match")
    except ValueError as fault:
        raise CellFailed(f"{dataset.name}, split {split.number}: {fault}") from fault
    return dataclasses.replace(ranks, index=query[ranks.index])


def _of(records: Sequence[ImageRecord], key: str) -> NDArray[np.int64]:
    return np.array([getattr(record, key) for record in records])
