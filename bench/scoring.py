"""All pairs of two sets of images, encoded and scored in blocks that fit a memory budget."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.config import Evaluation
from bench.model import Matcher
from bench.pulse import Pulse
from bench.spill import SpilledRepr
from bench.stopwatch import Stopwatch
from variants._base import Head, Repr

CPU_CACHE_FRIENDLY_BYTES = 64 * 2**20
"""Working memory of a block beyond which larger blocks no longer score faster on a CPU."""


QUERY_CHUNK = 256
"""Queries that are scored before their ranks are stored, where the gallery's representations lie in memory."""


@dataclass(frozen=True)
class ScoringPlan:
    """How scoring fits its budget; the gallery's representations are kept in memory, on disk, or encoded per chunk."""

    queries: int
    gallery: int
    bytes_per_image: int
    query_chunk: int
    keep: Literal["memory", "disk", "nothing"]
    block_bytes: int

    @property
    def chunks(self) -> int:
        """In how many chunks the queries go."""
        return -(-self.queries // self.query_chunk)

    def __str__(self) -> str:
        size = f"{self.gallery * self.bytes_per_image / 2**30:.2f} GiB"
        where = {
            "memory": f"kept in memory ({size})",
            "disk": f"kept on disk ({size}) and read for each chunk",
            "nothing": f"encoded again for each chunk ({size} would be too much for memory and disk)",
        }[self.keep]
        return (
            f"{self.queries:,} queries x {self.gallery:,} gallery images: queries in {self.chunks} chunks of "
            f"{self.query_chunk:,}, gallery representations {where}"
        )


def plan_scoring(queries: int, gallery: int, bytes_per_image: int, budget: int, free_disk: int = 0) -> ScoringPlan:
    """Share a budget in bytes among representations, a chunk of scores, and the working memory of blocks.

    A quarter is for blocks. The gallery is kept in memory if it takes no more than half of the budget; else on disk
    if it takes no more than half of what is free there, since reading costs less than encoding; else it is encoded
    again for each chunk of queries, which is as large as the budget allows.
    """
    block_bytes, left = budget // 4, budget - budget // 4
    bytes_per_query = bytes_per_image + 4 * gallery
    gallery_bytes = gallery * bytes_per_image
    if gallery_bytes <= budget // 2:
        chunk = min(queries, QUERY_CHUNK, max(1, (left - gallery_bytes) // bytes_per_query))
        return ScoringPlan(queries, gallery, bytes_per_image, chunk, "memory", block_bytes)
    # The blocks of the gallery that pass through memory take a sixteenth.
    chunk = min(queries, max(1, (left - budget // 16) // bytes_per_query))
    keep = "disk" if gallery_bytes <= free_disk // 2 and chunk < queries else "nothing"
    return ScoringPlan(queries, gallery, bytes_per_image, chunk, keep, block_bytes)


@dataclass
class PartialChunk:
    """A chunk of queries that is being scored: `scores` [queries of the chunk, G], of which `pairs` are done."""

    start: int
    scores: Tensor
    pairs: int = 0

    @property
    def place(self) -> str:
        """Tells one state from another."""
        return f"query {self.start} pair {self.pairs}"


@dataclass
class Scorer:
    """Encodes and scores query against gallery images in evaluation mode, within a memory budget.

    `images` [n, 3, H, W] uint8 holds all images, `query` [Q] and `gallery` [G] positions in it. `spill` is the folder
    for representations that memory does not hold; None keeps nothing on disk. `watch` gets the seconds of "encoding"
    and "matching". With a `key`, which tells of network and images, representations that were stored before an
    interruption are taken up again; `close` deletes them.
    """

    model: Matcher
    images: NDArray[np.uint8]
    query: NDArray[np.int64]
    gallery: NDArray[np.int64]
    settings: Evaluation
    watch: Stopwatch
    spill: Path | None = None
    pulse: Pulse = field(default_factory=Pulse)
    key: str = ""

    def __post_init__(self) -> None:
        # One batch tells how large a representation is; it is not encoded again.
        self._first = self._encode(self.query[: self.settings.batch])
        free = shutil.disk_usage(self.spill).free if self.spill is not None else 0
        budget = int(self.settings.memory_gib * 2**30)
        self._kept: Repr | None = None
        self.plan = plan_scoring(len(self.query), len(self.gallery), self._first.bytes_per_image, budget, free)

    def chunks(
        self,
        first: int = 0,
        resumed: PartialChunk | None = None,
        advance: Callable[[int], object] | None = None,
        keep: Callable[[PartialChunk], str] | None = None,
    ) -> Iterator[tuple[int, Tensor]]:
        """(first query of a chunk, scores [queries of the chunk, G] on the CPU), from query `first` on.

        `advance` is told the pairs of each finished block. Nothing is encoded twice where memory or disk holds it.
        `keep` stores what is done of a chunk, to be given back as `resumed`, and returns a name of it; it is called
        when it is time to save.
        """
        with self._gallery_blocks() as blocks:
            for start in range(first, len(self.query), self.plan.query_chunk):
                queries = self._queries(start, min(start + self.plan.query_chunk, len(self.query)))
                chunk = PartialChunk(start, torch.empty(len(queries), len(self.gallery)))
                if resumed is not None and (resumed.start, resumed.scores.shape) == (start, chunk.scores.shape):
                    chunk = resumed
                    self._tell(chunk.pairs, advance)
                self._score_chunk(chunk, queries, blocks, advance, keep)
                yield start, chunk.scores

    def _score_chunk(
        self,
        chunk: PartialChunk,
        queries: Repr,
        blocks: Callable[[int], Iterator[tuple[int, Repr]]],
        advance: Callable[[int], object] | None,
        keep: Callable[[PartialChunk], str] | None,
    ) -> None:
        def note(pairs: int) -> None:
            chunk.pairs += pairs
            self._tell(pairs, advance)
            if keep is not None:
                self.pulse.safe_point(lambda: keep(chunk))

        done = chunk.pairs
        for left, block in blocks(done // len(queries)):
            with self.watch.phase("matching"):
                part = chunk.scores[:, left : left + len(block)]
                skip = max(0, done - left * len(queries))
                score_all(self.model.head, queries, block, self.plan.block_bytes, note, part, skip)

    def _tell(self, pairs: int, advance: Callable[[int], object] | None) -> None:
        self.pulse.advance(pairs)
        if advance is not None:
            advance(pairs)

    def close(self) -> None:
        """Delete the representations that were stored for the case of an interruption."""
        if self.spill is not None and self.key:
            SpilledRepr.delete(self.spill, self.key)

    def _encode(
        self,
        positions: NDArray[np.int64],
        known: Repr | None = None,
        after: Callable[[Repr, int], None] | None = None,
    ) -> Repr:
        with self.watch.phase("encoding"):
            return self.model.encode_all(self.images, positions, self.settings.batch, known, after=after)

    def _queries(self, start: int, stop: int) -> Repr:
        if self.query is self.gallery and self._kept is not None:
            return self._kept[start:stop]
        known = self._first[start:stop] if start < len(self._first) else None
        return self._encode(self.query[start:stop], known)

    @contextmanager
    def _gallery_blocks(self) -> Iterator[Callable[[int], Iterator[tuple[int, Repr]]]]:
        """A function that goes through the gallery block by block; from disk or anew, the blocks are the same.

        Its argument is how many gallery images need not be gone through; a block that holds others too is whole.
        """
        batch, count = self.settings.batch, len(self.gallery)

        def starts(skip: int) -> range:
            return range(skip // batch * batch, count, batch)

        if self.plan.keep == "memory":
            kept = self._encode_gallery()
            self._kept = kept
            yield lambda _skip: iter([(0, kept)])
        elif self.plan.keep == "nothing":
            yield lambda skip: ((start, self._encode(self.gallery[start : start + batch])) for start in starts(skip))
        else:
            spilled = SpilledRepr(self.spill, count, self._first, self.key)
            try:
                for start in starts(spilled.done):
                    spilled.write(start, self._encode(self.gallery[start : start + batch]))
                    self._may_store(spilled, min(start + batch, count))
                yield lambda skip: ((start, spilled.read(start, min(start + batch, count))) for start in starts(skip))
            finally:
                spilled.close()

    def _encode_gallery(self) -> Repr:
        """The whole gallery in memory; stored as far as it is whenever it is time to save."""
        known = self._first if self.query is self.gallery else None
        if self.spill is None or not self.key:
            return self._encode(self.gallery, known)
        store: SpilledRepr | None = None
        if SpilledRepr.exists(self.spill, self.key):
            store = SpilledRepr(self.spill, len(self.gallery), self._first, self.key)
            known = store.read(0, store.done) if store.done else known

        def after(whole: Repr, done: int) -> None:
            def save() -> str:
                nonlocal store
                store = store or SpilledRepr(self.spill, len(self.gallery), self._first, self.key)
                if store.done < done:
                    store.write(store.done, whole[store.done : done])
                return store.mark(done)

            self.pulse.safe_point(save)

        kept = self._encode(self.gallery, known, after)
        if store is not None:
            store.close()
        return kept

    def _may_store(self, spilled: SpilledRepr, done: int) -> None:
        if self.key:
            self.pulse.safe_point(lambda: spilled.mark(done))


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
    advance: Callable[[int], object] | None = None,
    scores: Tensor | None = None,
    skip: int = 0,
) -> Tensor:
    """[Q, G] scores in evaluation mode, on the CPU. `advance` is told the pairs of each finished block.

    `scores` is filled if it is given; its first `skip` pairs, in the order of the blocks, are there already.
    """
    head.eval()
    on_cpu = next(tensor for _, tensor in query.items()).device.type == "cpu"
    block_bytes = min(budget, CPU_CACHE_FRIENDLY_BYTES) if on_cpu else budget
    rows, columns = block_shape(head, len(query), len(gallery), block_bytes)
    scores = torch.empty(len(query), len(gallery)) if scores is None else scores
    for top in range(0, len(query), rows):
        query_block = query[top : top + rows]
        for left in range(0, len(gallery), columns):
            gallery_block = gallery[left : left + columns]
            pairs = len(query_block) * len(gallery_block)
            if skip >= pairs:
                skip -= pairs
                continue
            scores[top : top + rows, left : left + columns] = head.match(query_block, gallery_block)
            if advance is not None:
                advance(pairs)
    return scores
