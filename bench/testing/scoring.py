"""All pairs of two sets of images, encoded and scored in blocks that fit a memory budget."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.config import Evaluation
from bench.data.tensors import Images
from bench.journal.pulse import Pulse
from bench.network.matcher import Matcher
from bench.progress import QUIET, Progress
from bench.stopwatch import Stopwatch
from bench.testing.memory_budget import Work, check_not_empty, plan_scoring
from bench.testing.spill import SpilledRepr
from variants._base import Head, Repr

CPU_CACHE_FRIENDLY_BYTES = 64 * 2**20
"""Working memory of a block beyond which larger blocks no longer score faster on a CPU."""

Advance = Callable[[int], object]
"""Is told how many more units of work are done."""

Blocks = Callable[[int], Iterator[tuple[int, Repr]]]
"""Goes through the gallery block by block; its argument is how many gallery images need not be gone through, where a
block that holds others too is whole."""


@dataclass
class PartialChunk:
    """A chunk of queries that is being scored: `scores` as `Scorer.chunks` gives them, of which `pairs` are done."""

    start: int
    scores: Tensor
    pairs: int = 0

    @property
    def place(self) -> str:
        """Tells one state from another."""
        return f"query {self.start} pair {self.pairs}"


Keep = Callable[[PartialChunk], str]
"""Stores what is done of a chunk and returns a name of it."""


@dataclass
class Scorer:
    """Encodes and scores query against gallery images in evaluation mode, within a memory budget.

    `images` [n, 3, H, W] uint8 holds all images, `query` [Q] and `gallery` [G] positions in it. `spill` is the folder
    for representations that memory does not hold; None keeps nothing on disk. `watch` gets the seconds of "encoding"
    and "matching". With a `key`, which tells of network and images, representations that were stored before an
    interruption are taken up again; `close` deletes them. `both_ways` scores each pair a second time, with the
    gallery's image as the query. Raises UserError as `plan_scoring` does.
    """

    model: Matcher
    images: Images
    query: NDArray[np.int64]
    gallery: NDArray[np.int64]
    settings: Evaluation
    watch: Stopwatch
    spill: Path | None = None
    pulse: Pulse = field(default_factory=Pulse)
    key: str = ""
    progress: Progress = QUIET
    both_ways: bool = False

    def __post_init__(self) -> None:
        check_not_empty(len(self.query), len(self.gallery))
        # One image tells how large a representation is.
        self._like = self.model.encode_all(self.images, self.query[:1], 1, self.settings.scoring)
        self._kept: Repr | None = None
        budget = int(self.settings.memory_gib * 2**30)
        size, pair_bytes = self._like.bytes_per_image, self.model.head.pair_bytes()
        work = Work(len(self.query), len(self.gallery), size, pair_bytes, self.both_ways)
        self.plan = plan_scoring(work, budget, self._room(), self.settings.batch)

    @property
    def kept(self) -> Repr | None:
        """The gallery's representations, once `chunks` has begun, where memory holds them all."""
        return self._kept

    def _room(self) -> int:
        """Bytes of disk that are free, or taken up already by what an interruption left for this very work."""
        if self.spill is None:
            return 0
        own = SpilledRepr.size(self.spill, self.key) if self.key else 0
        return shutil.disk_usage(self.spill).free + own

    def chunks(
        self,
        first: int = 0,
        resumed: PartialChunk | None = None,
        advance: Advance | None = None,
        keep: Keep | None = None,
    ) -> Iterator[tuple[int, Tensor]]:
        """(first query of a chunk, scores [queries of the chunk, G] on the CPU), from query `first` on.

        Both ways: [queries of the chunk, 2, G], where [i, 1, j] has gallery image j as the query and i as the image.
        The scores lie in one buffer: the next chunk overwrites them. `advance` is told the pairs of each finished
        block. Nothing is encoded twice where memory or disk holds it. `keep` stores what is done of a chunk, to be
        given back as `resumed`; it is called when it is time to save.
        """
        buffer = torch.empty(self.plan.query_chunk, *((2,) if self.both_ways else ()), len(self.gallery))
        with self._gallery_blocks() as blocks:
            for start in range(first, len(self.query), self.plan.query_chunk):
                queries = self._queries(start, min(start + self.plan.query_chunk, len(self.query)))
                chunk = PartialChunk(start, buffer[: len(queries)])
                if resumed is not None and (resumed.start, resumed.scores.shape) == (start, chunk.scores.shape):
                    chunk.scores.copy_(resumed.scores)
                    chunk.pairs = resumed.pairs
                    self._tell(chunk.pairs, advance)
                self._score_chunk(chunk, queries, blocks, advance, keep)
                yield start, chunk.scores

    def _score_chunk(
        self, chunk: PartialChunk, queries: Repr, blocks: Blocks, advance: Advance | None, keep: Keep | None
    ) -> None:
        def note(pairs: int) -> None:
            chunk.pairs += pairs
            self._tell(pairs, advance)
            if keep is not None:
                self.pulse.safe_point(lambda: keep(chunk))

        done, ways = chunk.pairs, 2 if self.both_ways else 1
        for left, block in blocks(done // (ways * len(queries))):
            with self.watch.phase("matching"):
                part = chunk.scores[..., left : left + len(block)]
                skip = max(0, done - ways * left * len(queries))
                head, size = self.model.head, self.plan.block_bytes
                if not self.both_ways:
                    score_all(head, queries, block, size, part, note, skip)
                    continue
                pairs = len(queries) * len(block)
                score_all(head, queries, block, size, part[:, 0], note, min(skip, pairs))
                if head.symmetric:
                    part[:, 1] = part[:, 0]
                    note(pairs - max(0, skip - pairs))
                else:
                    score_all(head, block, queries, size, part[:, 1].T, note, max(0, skip - pairs))

    def _tell(self, pairs: int, advance: Advance | None) -> None:
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
            return self.model.encode_all(self.images, positions, self.plan.batch, self.settings.scoring, known, after)

    def _queries(self, start: int, stop: int) -> Repr:
        if self.query is self.gallery and self._kept is not None:
            return self._kept[start:stop]
        return self._encode(self.query[start:stop])

    @contextmanager
    def _gallery_blocks(self) -> Iterator[Blocks]:
        """The gallery's blocks; from disk or encoded anew, they are the same."""
        batch, count = self.plan.batch, len(self.gallery)

        def parts(skip: int) -> list[tuple[int, int]]:
            return [(start, min(start + batch, count)) for start in range(skip // batch * batch, count, batch)]

        if self.plan.keep == "nothing":
            yield lambda skip: ((start, self._encode(self.gallery[start:stop])) for start, stop in parts(skip))
            return
        if self.plan.keep == "memory":
            kept = self._kept = self._encode_gallery()
            yield lambda _skip: iter([(0, kept)])
            return
        with contextlib.closing(SpilledRepr(self.spill, count, self._like, self.key)) as spilled:
            with self.progress.bar(count, "encode gallery", "image", spilled.done) as bar:
                for start, stop in parts(spilled.done):
                    spilled.write(start, self._encode(self.gallery[start:stop]))
                    bar.update(stop - start)
                    self._may_store(spilled, stop)
            yield lambda skip: ((start, spilled.read(start, stop)) for start, stop in parts(skip))

    def _encode_gallery(self) -> Repr:
        """The whole gallery in memory; stored as far as it is whenever it is time to save."""
        count = len(self.gallery)
        lasting = self.spill is not None and bool(self.key)
        store: SpilledRepr | None = None
        known: Repr | None = None
        if lasting and SpilledRepr.size(self.spill, self.key):
            store = SpilledRepr(self.spill, count, self._like, self.key)
            known = store.read(0, store.done) if store.done else None

        def save(whole: Repr, done: int) -> str:
            nonlocal store
            store = store or SpilledRepr(self.spill, count, self._like, self.key)
            if store.done < done:
                store.write(store.done, whole[store.done : done])
            return store.mark(done)

        with self.progress.bar(count, "encode gallery", "image", len(known) if known is not None else 0) as bar:

            def after(whole: Repr, done: int) -> None:
                bar.update(done - bar.n)
                if lasting:
                    self.pulse.safe_point(lambda: save(whole, done))

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
    out: Tensor | None = None,
    advance: Advance | None = None,
    skip: int = 0,
) -> Tensor:
    """[Q, G] scores in evaluation mode, on the CPU, written to `out` if given.

    Representations in bfloat16 are matched under autocast. `advance` is told the pairs of each finished block. The
    first `skip` pairs of `out`, in the order of the blocks, are there already.
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
                pairs = len(query_block) * len(gallery_block)
                if skip >= pairs:
                    skip -= pairs
                    continue
                scores[top : top + rows, left : left + columns] = head.match(query_block, gallery_block)
                if advance is not None:
                    advance(pairs)
    return scores
