"""The best n of the gallery by a cheap vector, then a head: rankings for every n from one full test.

A head scores each pair by itself, so the scores of a shortlist are those of the full test, and every n is a mask over
them. Images outside a query's shortlist rank behind all in it, in the vector's order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data import Dataset
from bench.errors import CellFailed
from bench.testing.metrics import QueryRanks
from bench.testing.ranking import rank_chunk

ROWS = 64
"""Queries that are sorted together."""


def lengths(gallery: int) -> list[int]:
    """Lengths to try for a gallery: 10, 20, 50, 100, ... up to four fifths of it, and all of it."""
    steps = (step * 10**power for power in range(1, 19) for step in (1, 2, 5))
    return [*(length for length in steps if length <= 0.8 * gallery), gallery]


@dataclass(frozen=True, eq=False)
class TwoOrders:
    """The gallery in the head's and in the vector's order, for each of Q queries; all [Q, G]."""

    head: NDArray[np.int32]
    """Whole numbers from 1 that order the gallery as the head's scores do; equal scores have equal numbers."""
    vector: NDArray[np.int32]
    """The same of the vector's scores, but none above 0."""
    place: NDArray[np.int32]
    """Places in the vector's list from 0; of equal scores the first in the gallery comes first."""

    @staticmethod
    def of(head: NDArray, vector: NDArray) -> TwoOrders:
        """From the scores of both, higher = more alike. Raises ValueError if any is NaN."""
        if np.isnan(head).any() or np.isnan(vector).any():
            raise ValueError("some scores are NaN: no ranking follows from them")
        _, behind = _order(head)
        place, outside = _order(vector)
        return TwoOrders(head.shape[1] - behind, -outside, place)

    def with_shortlist(self, length: int) -> NDArray[np.int32]:
        """Scores [Q, G] that rank the `length` best by the vector as the head does, and the others behind them."""
        return np.where(self.place < length, self.head, self.vector)


def rank_shortlists(
    dataset: Dataset, chunks: Iterator[tuple[int, NDArray, NDArray]], tried: Sequence[int]
) -> list[QueryRanks]:
    """The ranks of all queries for each of the lengths in `tried`; 0 is the vector alone.

    `chunks` gives (first query, the head's scores [q, G], the vector's scores [q, G]), and may use its memory again.
    Raises CellFailed for scores that are NaN.
    """
    parts: list[list[QueryRanks]] = [[] for _ in tried]
    for start, head, vector in chunks:
        for top in range(0, len(head), ROWS):
            try:
                orders = TwoOrders.of(head[top : top + ROWS], vector[top : top + ROWS])
            except ValueError as fault:
                raise CellFailed(f"{dataset.name}: {fault}") from fault
            for part, length in zip(parts, tried, strict=True):
                part.append(rank_chunk(dataset, orders.with_shortlist(length), start + top))
    return [QueryRanks.join(part) for part in parts]


def _order(scores: NDArray) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Each image's place in the list, best first, and how many different scores are above its own."""
    best_first = np.argsort(-scores, axis=1, kind="stable")
    in_order = np.take_along_axis(scores, best_first, axis=1)
    above = np.zeros(scores.shape, np.int32)
    np.cumsum(in_order[:, 1:] != in_order[:, :-1], axis=1, out=above[:, 1:])
    place, level = np.empty_like(above), np.empty_like(above)
    every = np.broadcast_to(np.arange(scores.shape[1], dtype=np.int32), scores.shape)
    np.put_along_axis(place, best_first, every, axis=1)
    np.put_along_axis(level, best_first, above, axis=1)
    return place, level
