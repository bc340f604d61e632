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
from bench.testing.blocks import Advance, BlockScorer
from bench.testing.device_memory import gpu_budget
from bench.testing.memory_budget import Work, check_not_empty, plan_scoring
from bench.testing.score_log import PartialChunk
from bench.testing.spill import SpilledRepr
from variants._base import Repr

Blocks = Callable[[int], Iterator[tuple[int, Repr]]]
"""Goes through the gallery block by block; its argument is how many gallery images need not be gone through, where a
block that holds others too is whole."""

Keep = Callable[[PartialChunk], str]
"""Stores what is done of a chunk and returns a name of it."""

Fill = Callable[[PartialChunk], object]
"""Puts into a chunk that begins what was stored of it."""


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
        gpu = gpu_budget(self.settings, self.model.device)
        self.plan = plan_scoring(work, budget, self._room(), self.settings.batch, gpu)
        self.blocks = BlockScorer(self.model.head, self.plan.block_bytes, self.settings.scoring, self.progress.say)

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
        fill: Fill | None = None,
        advance: Advance | None = None,
        keep: Keep | None = None,
    ) -> Iterator[tuple[int, Tensor]]:
        """(first query of a chunk, scores [queries of the chunk, G] on the CPU), from query `first` on.

        Both ways: [queries of the chunk, 2, G], where [i, 1, j] has gallery image j as the query and i as the image.
        The scores lie in one of `plan.buffers`: with two, they stay while the next chunk is scored. `advance` is told
        the pairs of each finished block. Nothing is encoded twice where memory or disk holds it. `keep` stores what is
        done of a chunk, for which `fill` looks when the first begins; it is called when it is time to save.
        """
        shape = self.plan.query_chunk, *((2,) if self.both_ways else ()), len(self.gallery)
        buffers = [torch.empty(shape) for _ in range(self.plan.buffers)]
        with self._gallery_blocks() as blocks:
            for number, start in enumerate(range(first, len(self.query), self.plan.query_chunk)):
                queries = self._queries(start, min(start + self.plan.query_chunk, len(self.query)))
                chunk = PartialChunk(start, buffers[number % len(buffers)][: len(queries)], self.plan.grid)
                if number == 0 and fill is not None:
                    fill(chunk)
                    self._tell(chunk.pairs, advance)
                self._score_chunk(chunk, queries, blocks, advance, keep)
                yield start, chunk.scores

    def _score_chunk(
        self, chunk: PartialChunk, queries: Repr, blocks: Blocks, advance: Advance | None, keep: Keep | None
    ) -> None:
        def note(block: Tensor) -> None:
            chunk.add(block, keep is not None)
            self._tell(block.numel(), advance)
            if keep is not None:
                self.pulse.safe_point(lambda: keep(chunk))

        done, ways = chunk.pairs, 2 if self.both_ways else 1
        score = self.blocks.score
        for left, block in blocks(done // (ways * len(queries))):
            with self.watch.phase("matching"):
                part = chunk.scores[..., left : left + len(block)]
                skip = max(0, done - ways * left * len(queries))
                if not self.both_ways:
                    score(queries, block, part, note, skip)
                    continue
                pairs = len(queries) * len(block)
                score(queries, block, part[:, 0], note, min(skip, pairs))
                if not self.model.head.symmetric:
                    score(block, queries, part[:, 1].T, note, max(0, skip - pairs))
                elif skip < 2 * pairs:
                    self.blocks.finish()
                    part[:, 1] = part[:, 0]
                    note(part[:, 1])
        with self.watch.phase("matching"):
            self.blocks.finish()

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
        count = len(self.gallery)
        if self.plan.keep == "nothing":
            yield self._passing
            return
        if self.plan.keep == "memory":
            kept = self._kept = self._encode_gallery()
            yield lambda _skip: iter([(0, kept)])
            return
        with contextlib.closing(SpilledRepr(self.spill, count, self._like, self.key)) as spilled:
            with self.progress.bar(count, "encode gallery", "image", spilled.done) as bar:
                for start, part in self._passing(spilled.done):
                    spilled.write(start, part)
                    bar.update(len(part))
                    self._may_store(spilled, start + len(part))
            yield lambda skip: (
                (start, spilled.read(start, min(start + self.plan.batch, count))) for start in self._batches(skip)
            )

    def _batches(self, skip: int) -> range:
        """Where the gallery's batches begin, from the one that holds image `skip` on."""
        return range(skip // self.plan.batch * self.plan.batch, len(self.gallery), self.plan.batch)

    def _passing(self, skip: int) -> Iterator[tuple[int, Repr]]:
        """The gallery encoded batch by batch, from the one that holds image `skip` on."""
        starts = self._batches(skip)
        rest = self.gallery[starts.start :]
        encoded = self.model.encode_batches(self.images, rest, self.plan.batch, self.settings.scoring)
        with contextlib.closing(encoded):
            for start in starts:
                with self.watch.phase("encoding"):
                    part = next(encoded)
                yield start, part

    def _encode_gallery(self) -> Repr:
        """The whole gallery in memory; stored as far as it is whenever it is time to save."""
        count = len(self.gallery)
        # A GPU encodes faster than a disk writes.
        lasting = self.spill is not None and bool(self.key) and self.plan.gpu is None
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
