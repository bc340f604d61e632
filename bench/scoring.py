"""All pairs of two sets of images, encoded and scored in blocks that fit a memory budget."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.config import Evaluation
from bench.errors import UserError
from bench.model import Matcher
from bench.progress import QUIET, Progress
from bench.spill import SpilledRepr
from bench.stopwatch import Stopwatch
from variants._base import Head, Repr

CPU_CACHE_FRIENDLY_BYTES = 64 * 2**20
"""Working memory of a block beyond which larger blocks no longer score faster on a CPU."""

QUERY_CHUNK = 256
"""Queries that are scored before their ranks are stored, where the gallery's representations lie in memory."""

Advance = Callable[[int], object]
"""Is told how many more units of work are done."""


@dataclass(frozen=True)
class Work:
    """What is to be scored: numbers of images, and the bytes that one image's representation and one pair take."""

    queries: int
    gallery: int
    bytes_per_image: int
    pair_bytes: int

    @property
    def bytes_per_query(self) -> int:
        """Bytes that a query takes while its chunk is scored: its representation and its scores."""
        return self.bytes_per_image + 4 * self.gallery

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


@dataclass
class Scorer:
    """Encodes and scores query against gallery images in evaluation mode, within a memory budget.

    `images` [n, 3, H, W] uint8 holds all images, `query` [Q] and `gallery` [G] positions in it. `spill` is the folder
    for representations that memory does not hold; None keeps nothing on disk. `watch` gets the seconds of "encoding"
    and "matching". Raises UserError as `plan_scoring` does.
    """

    model: Matcher
    images: NDArray[np.uint8]
    query: NDArray[np.int64]
    gallery: NDArray[np.int64]
    settings: Evaluation
    watch: Stopwatch
    spill: Path | None = None
    progress: Progress = QUIET

    def __post_init__(self) -> None:
        check_not_empty(len(self.query), len(self.gallery))
        # One image tells how large a representation is.
        self._like = self.model.encode_all(self.images, self.query[:1], 1, self.settings.scoring)
        self._kept: Repr | None = None
        free = shutil.disk_usage(self.spill).free if self.spill is not None else 0
        budget = int(self.settings.memory_gib * 2**30)
        work = Work(len(self.query), len(self.gallery), self._like.bytes_per_image, self.model.head.pair_bytes())
        self.plan = plan_scoring(work, budget, free, self.settings.batch)

    def chunks(self, first: int = 0, advance: Advance | None = None) -> Iterator[tuple[int, Tensor]]:
        """(first query of a chunk, scores [queries of the chunk, G] on the CPU), from query `first` on.

        The scores lie in one buffer: the next chunk overwrites them. `advance` is told the pairs of each finished
        block. Nothing is encoded twice where memory or disk holds it.
        """
        buffer = torch.empty(self.plan.query_chunk, len(self.gallery))
        with self._gallery_blocks() as blocks:
            for start in range(first, len(self.query), self.plan.query_chunk):
                stop = min(start + self.plan.query_chunk, len(self.query))
                scores = buffer[: stop - start]
                self._score_chunk(start, stop, blocks, scores, advance)
                yield start, scores

    def all(self) -> Tensor:
        """[Q, G], all scores at once, on the CPU: beyond the budget where they are many."""
        scores = torch.empty(len(self.query), len(self.gallery))
        for start, chunk in self.chunks():
            scores[start : start + len(chunk)] = chunk
        return scores

    def _score_chunk(
        self,
        start: int,
        stop: int,
        blocks: Callable[[], Iterator[tuple[int, Repr]]],
        scores: Tensor,
        advance: Advance | None,
    ) -> None:
        queries = self._queries(start, stop)
        for left, block in blocks():
            with self.watch.phase("matching"):
                out = scores[:, left : left + len(block)]
                score_all(self.model.head, queries, block, self.plan.block_bytes, out, advance)

    def _encode(self, positions: NDArray[np.int64], advance: Advance | None = None) -> Repr:
        with self.watch.phase("encoding"):
            return self.model.encode_all(self.images, positions, self.plan.batch, self.settings.scoring, advance)

    def _queries(self, start: int, stop: int) -> Repr:
        if self.query is self.gallery and self._kept is not None:
            return self._kept[start:stop]
        return self._encode(self.query[start:stop])

    @contextmanager
    def _gallery_blocks(self) -> Iterator[Callable[[], Iterator[tuple[int, Repr]]]]:
        """A function that goes through the gallery block by block; from disk or anew, the blocks are the same."""
        count, batch = len(self.gallery), self.plan.batch
        parts = [(start, min(start + batch, count)) for start in range(0, count, batch)]
        if self.plan.keep == "nothing":
            yield lambda: ((start, self._encode(self.gallery[start:stop])) for start, stop in parts)
            return
        bar = self.progress.bar(count, "encode gallery", "image")
        if self.plan.keep == "memory":
            with bar:
                kept = self._kept = self._encode(self.gallery, bar.update)
            yield lambda: iter([(0, kept)])
            return
        with contextlib.closing(SpilledRepr(self.spill, count, self._like)) as spilled:
            with bar:
                for start, stop in parts:
                    spilled.write(start, self._encode(self.gallery[start:stop], bar.update))
            yield lambda: ((start, spilled.read(start, stop)) for start, stop in parts)


def block_shape(head: Head, queries: int, gallery: int, budget: int) -> tuple[int, int]:
    """Queries and gallery images of one `match` call whose working memory stays within `budget` bytes.

    At least one pair. A function of the head and the sizes alone, so that repeating a run repeats its rounding.
    """
    pairs = max(1, budget // max(1, head.pair_bytes()))
    gallery_block = min(gallery, max(1, int(pairs**0.5)))
    query_block = min(queries, max(1, pairs // gallery_block))
    gallery_block = min(gallery, max(1, pairs // query_block))
    return query_block, gallery_block


@torch.inference_mode()
def score_all(
    head: Head,
    query: Repr,
    gallery: Repr,
    budget: int,
    out: Tensor | None = None,
    advance: Advance | None = None,
) -> Tensor:
    """[Q, G] scores in evaluation mode, on the CPU, written to `out` if given.

    Representations in bfloat16 are matched under autocast. `advance` is told the pairs of each finished block.
    """
    head.eval()
    tensors = [tensor for _, tensor in query.items()]
    device = tensors[0].device.type
    # On a CPU, memory that blocks of changing size have freed may stay with the process, up to as much again.
    block_bytes = min(budget // 2, CPU_CACHE_FRIENDLY_BYTES) if device == "cpu" else budget
    rows, columns = block_shape(head, len(query), len(gallery), block_bytes)
    scores = torch.empty(len(query), len(gallery)) if out is None else out
    rounded = any(tensor.dtype == torch.bfloat16 for tensor in tensors)
    with torch.autocast(device, torch.bfloat16) if rounded else contextlib.nullcontext():
        for top in range(0, len(query), rows):
            query_block = query[top : top + rows]
            for left in range(0, len(gallery), columns):
                gallery_block = gallery[left : left + columns]
                scores[top : top + rows, left : left + columns] = head.match(query_block, gallery_block)
                if advance is not None:
                    advance(len(query_block) * len(gallery_block))
    return scores


def _gib(size: int) -> str:
    """Bytes as GiB, rounded up to two digits, so that what is said to be enough is enough."""
    value = size / 2**30
    if value >= 10 or value <= 0:
        return f"{math.ceil(value):,}"
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.ceil(value / step) * step:.2g}"
