"""The curve of a head behind another run's vectors, from both runs' checkpoints, in one pass over a test set.

Each network encodes the test set once, and each chunk of queries is scored against the whole gallery once: the accuracy
of every length follows from these scores. Speed is measured apart, one query at a time on a sample of them, as
`bench search --shortlist` does it: all vectors are compared by a matrix product and sorted with torch, without an index
(faiss); then the head scores what is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.computing import compute_as_runs_do
from bench.data import Dataset
from bench.data.tensors import Images
from bench.errors import CellFailed
from bench.journal.provenance import now, provenance
from bench.journal.record import Record
from bench.journal.shortlists import ShortlistPoint, ShortlistRecord
from bench.network.matcher import Matcher
from bench.progress import Progress
from bench.stopwatch import Stopwatch
from bench.testing.blocks import score_all
from bench.testing.metrics import QueryRanks, summarise
from bench.testing.scoring import Scorer
from bench.testing.searching import find_best, find_best_among
from bench.testing.shortlist import lengths, rank_shortlists
from variants._base import Repr

TIMED_QUERIES = 32
"""Queries whose searches are timed for each length, at most."""
TIMED_SECONDS = 0.5
"""After so long no further query is timed; one always is."""
TOP = 10
"""Images that a timed search returns."""


@dataclass(frozen=True, eq=False)
class Vectors:
    """The run whose vectors choose, and a test set as it encodes it: `query` of Q images, `gallery` of G."""

    model: Matcher
    record: Record
    query: Repr
    gallery: Repr


def keeps_one_vector(model: Matcher, record: Record) -> bool:
    """Whether the head keeps of an image nothing but one vector."""
    size = record.config.input
    blank = np.zeros((2, 3, size.height, size.width), np.uint8)
    tensors = [tensor for _, tensor in model.encode_all(blank, np.arange(2), 2).items()]
    return len(tensors) == 1 and tensors[0].ndim == 2


def compute_as(record: Record, device: torch.device) -> None:
    """Have this process compute on `device` as the run did, with its CPU threads."""
    threads = record.config.threads
    compute_as_runs_do(device, threads if isinstance(threads, int) else None, record.config.tf32)


def vectors_of(model: Matcher, record: Record, dataset: Dataset, images: Images) -> Vectors:
    """A test set as the choosing run's network encodes it; its vectors are kept in memory, all of them."""
    compute_as(record, model.device)
    settings = record.config.evaluation
    query, gallery = (
        model.encode_all(images, np.array(side, np.int64), settings.batch, settings.scoring) for side in dataset.sides
    )
    return Vectors(model, record, query, gallery)


def shortlist_curve(
    model: Matcher,
    record: Record,
    by: Vectors,
    dataset: Dataset,
    images: Images,
    room: Path,
    progress: Progress,
) -> ShortlistRecord:
    """Accuracy and cost of a run's head behind the vectors of `by`, for lengths from 10 to the whole gallery.

    `images` are the test images at the run's own input size; `room` is a folder of this work's own, for representations
    that memory does not hold. Raises CellFailed for scores that are NaN, UserError as `Scorer` does.
    """
    started = now()
    compute_as(record, model.device)
    query, gallery = (np.array(side, np.int64) for side in dataset.sides)
    scorer = Scorer(model, images, query, gallery, record.config.evaluation, Stopwatch(model.device), room)
    tried = [0, *lengths(len(gallery))]
    with progress.bar(len(query) * len(gallery), f"{record.label} on {dataset.name}", "pair") as bar:
        ranks = rank_shortlists(dataset, _scores(scorer, by, bar.update), tried)
    timed = _Timed(scorer, by, query)
    return ShortlistRecord(
        run=record.cell,
        label=record.label,
        by=by.record.cell,
        by_label=by.record.label,
        train=record.config.train,
        seed=record.config.seed,
        preset=record.preset,
        standin=dataset.standin or record.standin,
        test=dataset.name,
        fingerprint=dataset.fingerprint,
        queries=len(query),
        gallery_images=len(gallery),
        threads=torch.get_num_threads(),
        provenance=provenance(model.device, started, jobs=1),
        points=[_point(timed, length, found, dataset) for length, found in zip(tried, ranks, strict=True)],
    )


def _scores(scorer: Scorer, by: Vectors, advance: Callable[[int], object]) -> Iterator[tuple[int, NDArray, NDArray]]:
    """(first query, scores of the head, scores of the vectors), chunk by chunk."""
    for start, scores in scorer.chunks(advance=advance):
        vectors = by.query[start : start + len(scores)]
        scoring = by.record.config.evaluation.scoring
        chosen = score_all(by.model.head, vectors, by.gallery, scorer.plan.block_bytes, scoring=scoring)
        yield start, scores.numpy(), chosen.numpy()


def _point(timed: _Timed, length: int, ranks: QueryRanks, dataset: Dataset) -> ShortlistPoint:
    try:
        metrics = summarise(ranks)
    except ValueError as fault:
        raise CellFailed(f"{dataset.name}: {fault}") from fault
    return ShortlistPoint(
        length=length,
        rank1=metrics.rank1,
        mAP=metrics.mAP,
        bytes_per_image=timed.bytes_per_image(length),
        seconds=timed.seconds(length),
    )


class _Timed:
    """Searches of single queries, with what both networks keep of the test set.

    Which images a head scores does not change how long it takes: where memory does not hold the gallery's
    representations, those that it holds stand for the others.
    """

    def __init__(self, scorer: Scorer, by: Vectors, query: NDArray[np.int64]) -> None:
        self._scorer, self._by = scorer, by
        self._sample = np.unique(np.linspace(0, len(query) - 1, TIMED_QUERIES).astype(np.int64))
        self._query = self._encoded(query[self._sample])
        self._kept = scorer.kept
        if self._kept is None:
            held = max(1, scorer.plan.budget // 4 // self._query.bytes_per_image)
            self._kept = self._encoded(scorer.gallery[:held])

    def bytes_per_image(self, length: int) -> int:
        """What a search of this length needs to be kept of a gallery picture."""
        vector = 0 if length == len(self._scorer.gallery) else self._by.gallery.bytes_per_image
        return vector + (self._query.bytes_per_image if length else 0)

    def seconds(self, length: int) -> list[float]:
        """Seconds of each timed query; the first search, which warms up, is made twice."""
        self._search(0, length)
        found: list[float] = []
        for row in range(len(self._sample)):
            start = time.perf_counter()
            self._search(row, length)
            found.append(time.perf_counter() - start)
            if sum(found) > TIMED_SECONDS:
                break
        return found

    def _search(self, row: int, length: int) -> None:
        by, model, budget = self._by, self._scorer.model, self._scorer.plan.block_bytes
        scoring = self._scorer.settings.scoring
        total, held = len(self._scorer.gallery), len(self._kept)
        ours = self._query[row : row + 1]
        if length == total == held:
            find_best(model.head, ours, self._kept, TOP, budget, model.device, scoring)
            return
        chosen = torch.arange(total)[None]
        if length < total:
            at = int(self._sample[row])
            query, theirs = by.query[at : at + 1], by.record.config.evaluation.scoring
            head, device = by.model.head, by.model.device
            chosen = find_best(head, query, by.gallery, length or TOP, budget, device, theirs).position
        if length:
            find_best_among(model.head, ours, self._kept, chosen % held, TOP, budget, model.device, scoring)

    def _encoded(self, positions: NDArray[np.int64]) -> Repr:
        settings = self._scorer.settings
        return self._scorer.model.encode_all(self._scorer.images, positions, self._scorer.plan.batch, settings.scoring)
