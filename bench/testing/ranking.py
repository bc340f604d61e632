"""Ranks of the queries of a set without splits, chunk by chunk, on a GPU beside the matching of the next chunk."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bench.data import Dataset
from bench.errors import CellFailed
from bench.stopwatch import Stopwatch
from bench.testing.lists import Lists, ListSpool
from bench.testing.metrics import QueryRanks, rank_queries


def rank_chunk(dataset: Dataset, scores: NDArray, start: int, lists: Lists | None = None) -> QueryRanks:
    """The ranks of queries `start`, `start` + 1, ... of a set without splits, from their scores [q, G].

    `lists` is what `rank_queries` takes. Raises CellFailed for scores that are NaN.
    """
    chunk = dataset.query[start : start + len(scores)]
    try:
        return rank_queries(
            scores,
            np.array([record.person for record in chunk]),
            np.array([record.person for record in dataset.gallery]),
            np.array([record.camera for record in chunk]),
            np.array([record.camera for record in dataset.gallery]),
            first_index=start,
            groups=[
                (np.array(query[start : start + len(scores)]), np.array(gallery)) for query, gallery in dataset.groups
            ],
            lists=lists,
        )
    except ValueError as fault:
        raise CellFailed(f"{dataset.name}: {fault}") from fault


class Ranker:
    """Ranks one chunk after another: at once, or `beside` whatever the caller does next.

    `ranks` are those of the first `done` queries; `spool` gets their lists. Whoever reads these calls `wait` first.
    """

    def __init__(
        self,
        dataset: Dataset,
        watch: Stopwatch,
        beside: bool,
        done: int = 0,
        ranks: QueryRanks | None = None,
        spool: ListSpool | None = None,
    ) -> None:
        self.dataset, self.watch, self.done, self.ranks, self.spool = dataset, watch, done, ranks, spool
        self._thread = ThreadPoolExecutor(1) if beside else None
        self._under_way: Future[None] | None = None

    def __enter__(self) -> Ranker:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        if self._thread is not None:
            self._thread.shutdown()

    def rank(self, start: int, scores: Tensor) -> None:
        """The next chunk, whose scores must stay until the one after it is given. Raises CellFailed for NaN scores."""
        self.wait()
        if self._thread is None:
            self._rank(start, scores)
        else:
            self._under_way = self._thread.submit(self._rank, start, scores)

    def wait(self) -> None:
        """Until all that was given is ranked. Raises CellFailed for NaN scores."""
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            under_way.result()

    def _rank(self, start: int, scores: Tensor) -> None:
        with self.watch.phase("ranking", host=True):
            lists = Lists() if self.spool is not None else None
            found = rank_chunk(self.dataset, scores.numpy(), start, lists)
            self.ranks = found if self.ranks is None else QueryRanks.join([self.ranks, found])
            if lists is not None:
                self.spool.append(lists)
        self.done = start + len(scores)
