"""How the scoring of all pairs fits a memory budget, decided before anything is encoded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from bench.errors import UserError

QUERY_CHUNK = 256
"""Queries that are scored before their ranks are stored, where the gallery's representations lie in memory."""
GPU_BLOCK_BYTES = 2**30
"""Working memory of a block on a GPU, beyond which larger blocks no longer score faster."""
_PASSING = 3
"""Batches of a gallery that passes through a GPU: one is matched, one is encoded, one is freed."""


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
    def bytes_of_scores(self) -> int:
        """Bytes that a query's scores take."""
        return 4 * self.gallery * (2 if self.both_ways else 1)

    @property
    def bytes_per_query(self) -> int:
        """Bytes that a query takes while its chunk is scored: its representation and its scores."""
        return self.bytes_per_image + self.bytes_of_scores

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
    gpu: int | None = None
    """Bytes of a GPU's memory for representations and blocks; `budget` is then for scores alone."""

    @property
    def buffers(self) -> int:
        """Chunks of scores that are held: on a GPU one is ranked while the next is matched."""
        return 2 if self.gpu is not None and self.chunks > 1 else 1

    @property
    def encoded_images(self) -> int:
        """How many times an image is encoded, all counted."""
        return self.work.queries + self.work.gallery * (self.chunks if self.keep == "nothing" else 1)

    @property
    def disk_bytes(self) -> int:
        """Bytes of representations that are written to disk and read from it."""
        return self.work.gallery * self.work.bytes_per_image * (1 + self.chunks) if self.keep == "disk" else 0

    @property
    def grid(self) -> str:
        """Tells plans apart whose pairs are scored in another order."""
        return f"{self.query_chunk} {self.keep} {self.batch} {self.block_bytes}"

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
        room = "memory and disk" if self.gpu is None else "the GPU"
        where = {
            "memory": f"kept in memory ({size})",
            "disk": f"kept on disk ({size}) and read for each chunk",
            "nothing": f"{again} ({size} would be too much for {room})",
        }[self.keep]
        of_gpu = "" if self.gpu is None else f"{_gib(self.gpu)} GiB of the GPU and "
        within = f"{of_gpu}{_gib(self.budget)} GiB"
        return (
            f"{self.work.queries:,} queries x {self.work.gallery:,} gallery images within {within}: "
            f"queries in {self.chunks} chunk{'s' * (self.chunks > 1)} of {self.query_chunk:,}, "
            f"gallery representations {where}"
        )


def check_not_empty(queries: int, gallery: int) -> None:
    """Raise UserError unless there are queries and gallery images."""
    if not queries or not gallery:
        raise UserError(f"nothing to score: there are {queries} query and {gallery} gallery images")


def plan_scoring(work: Work, budget: int, free_disk: int = 0, batch: int = 64, gpu: int | None = None) -> ScoringPlan:
    """Share a budget in bytes among representations, a chunk of scores, and the working memory of blocks.

    A quarter is for blocks of pairs. The gallery is kept in memory if it takes no more than half of the budget; else
    on disk if it takes no more than half of what is free there, since reading costs less than encoding; else it is
    encoded again for each chunk of queries, which is as large as the budget allows. Encoding itself takes what the
    network needs for `batch` images, beside the budget.

    With `gpu` bytes of a GPU's memory, representations and blocks lie there, and `budget` is for scores. What does not
    fit is encoded again, which costs less than a disk: once for all queries where these fit, and their scores.

    Raises UserError if there is nothing to score, or naming the least budget if this one does not hold a single query,
    gallery image and pair.
    """
    check_not_empty(work.queries, work.gallery)
    if gpu is not None:
        return _plan_on_gpu(work, budget, gpu, batch)
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


def _plan_on_gpu(work: Work, budget: int, gpu: int, batch: int) -> ScoringPlan:
    size, least = work.bytes_per_image, 2 * work.bytes_of_scores
    if budget < least:
        raise UserError(
            f"the memory budget of {_gib(budget)} GiB is too small for the scores of two queries: the least that "
            f"works is {_gib(least)} GiB (--memory)"
        )
    least = max(8 * work.pair_bytes, 2 * (1 + _PASSING) * size)
    if gpu < least:
        raise UserError(
            f"the {_gib(gpu)} GiB of the GPU's memory that scoring may take are too few: the least that works is "
            f"{_gib(least)} GiB (--set evaluation.gpu_memory_gib, or a card with more that is free)"
        )
    block_bytes = min(gpu // 4, GPU_BLOCK_BYTES)
    left = gpu - block_bytes
    # All scores at once, or two chunks of them.
    scored = work.queries if work.queries * work.bytes_of_scores <= budget else budget // (2 * work.bytes_of_scores)
    held = (left - work.gallery * size) // size
    if held >= min(work.queries, QUERY_CHUNK):
        chunk = min(work.queries, QUERY_CHUNK, max(1, budget // (2 * work.bytes_of_scores)))
        return ScoringPlan(work, budget, chunk, "memory", batch, block_bytes, gpu)
    batch = min(batch, max(1, left // (2 * _PASSING * size)))
    most = min(work.queries, scored, (left - _PASSING * batch * size) // size)
    # In as few chunks as can be, which are equal.
    chunk = -(-work.queries // -(-work.queries // most))
    return ScoringPlan(work, budget, chunk, "nothing", batch, block_bytes, gpu)


def _gib(size: int) -> str:
    """Bytes as GiB, rounded up to two digits, so that what is said to be enough is enough."""
    value = size / 2**30
    if value >= 10 or value <= 0:
        return f"{math.ceil(value):,}"
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.ceil(value / step) * step:.2g}"
