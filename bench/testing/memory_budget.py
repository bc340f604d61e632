"""How the scoring of all pairs fits a memory budget, decided before anything is encoded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from bench.errors import UserError

QUERY_CHUNK = 256
"""Queries that are scored before their ranks are stored, where the gallery's representations lie in memory."""


@dataclass(frozen=True)
class Work:
    """What is to be scored: numbers of images, and the bytes that one image's representation and one pair take.

    `both_ways`: each pair is scored a second time, with the gallery's image as the query.
    """

    queries: int
    gallery: int
    bytes_per_image: int
    pair_bytes: int
    both_ways: bool = False

    @property
    def bytes_per_query(self) -> int:
        """Bytes that a query takes while its chunk is scored: its representation and its scores."""
        return self.bytes_per_image + 4 * self.gallery * (2 if self.both_ways else 1)

    def least_budget(self) -> int:
        """The smallest budget in bytes that `plan_scoring` takes."""
        in_memory = max(2 * self.gallery * self.bytes_per_image, math.ceil(self._one_query(True) * 4 / 3))
        passing = max(16 * self.bytes_per_image, math.ceil(self._one_query(False) * 8 / 5))
        # Shares are rounded down to whole bytes, hence a little more.
        return max(8 * self.pair_bytes, min(in_memory, passing)) + 16

    def _one_query(self, kept: bool) -> int:
        return self.bytes_per_query + (self.gallery * self.bytes_per_image if kept else 0)


@dataclass(frozen=True)
class ScoringPlan:
    """How scoring fits its budget; the gallery's representations are kept in memory, on disk, or encoded per chunk."""

    work: Work
    budget: int
    query_chunk: int
    keep: Literal["memory", "disk", "nothing"]
    batch: int
    """Images encoded at a time, and gallery images that pass through memory together."""
    block_bytes: int
    """For the working memory of one call of `match`."""

    @property
    def chunks(self) -> int:
        """In how many chunks the queries go."""
        return -(-self.work.queries // self.query_chunk)

    @property
    def trivial(self) -> bool:
        """Whether all is kept in memory and the budget shortens no chunk."""
        return self.keep == "memory" and self.query_chunk == min(self.work.queries, QUERY_CHUNK)

    def __str__(self) -> str:
        size = f"{_gib(self.work.gallery * self.work.bytes_per_image)} GiB"
        again = "encoded again for each chunk" if self.chunks > 1 else "encoded as they are needed"
        where = {
            "memory": f"kept in memory ({size})",
            "disk": f"kept on disk ({size}) and read for each chunk",
            "nothing": f"{again} ({size} would be too much for memory and disk)",
        }[self.keep]
        return (
            f"{self.work.queries:,} queries x {self.work.gallery:,} gallery images within {_gib(self.budget)} GiB: "
            f"queries in {self.chunks} chunk{'s' * (self.chunks > 1)} of {self.query_chunk:,}, "
            f"gallery representations {where}"
        )


def check_not_empty(queries: int, gallery: int) -> None:
    """Raise UserError unless there are queries and gallery images."""
    if not queries or not gallery:
        raise UserError(f"nothing to score: there are {queries} query and {gallery} gallery images")


def plan_scoring(work: Work, budget: int, free_disk: int = 0, batch: int = 64) -> ScoringPlan:
    """Share a budget in bytes among representations, a chunk of scores, and the working memory of blocks.

    A quarter is for blocks of pairs. The gallery is kept in memory if it takes no more than half of the budget; else
    on disk if it takes no more than half of what is free there, since reading costs less than encoding; else it is
    encoded again for each chunk of queries, which is as large as the budget allows. Encoding itself takes what the
    network needs for `batch` images, beside the budget. Raises UserError if there is nothing to score, or naming the
    least budget if this one does not hold a single query, gallery image and pair.
    """
    check_not_empty(work.queries, work.gallery)
    if budget < work.least_budget():
        raise UserError(
            f"the memory budget of {_gib(budget)} GiB is too small: the least that works is "
            f"{_gib(work.least_budget())} GiB (--memory)"
        )
    block_bytes, left = budget // 4, budget - budget // 4
    batch = min(batch, max(1, budget // 16 // work.bytes_per_image))
    gallery_bytes = work.gallery * work.bytes_per_image
    if gallery_bytes <= budget // 2 and gallery_bytes + work.bytes_per_query <= left:
        chunk = min(work.queries, QUERY_CHUNK, (left - gallery_bytes) // work.bytes_per_query)
        return ScoringPlan(work, budget, chunk, "memory", batch, block_bytes)
    # The gallery passes in batches, of which one is in use while the next is made: an eighth.
    chunk = min(work.queries, (left - budget // 8) // work.bytes_per_query)
    keep = "disk" if gallery_bytes <= free_disk // 2 and chunk < work.queries else "nothing"
    return ScoringPlan(work, budget, chunk, keep, batch, block_bytes)


def _gib(size: int) -> str:
    """Bytes as GiB, rounded up to two digits, so that what is said to be enough is enough."""
    value = size / 2**30
    if value >= 10 or value <= 0:
        return f"{math.ceil(value):,}"
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.ceil(value / step) * step:.2g}"
