"""All pairs of two sets of representations, scored in blocks that fit a memory budget."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bench.computing import out_of_memory
from bench.config import Scoring
from bench.errors import CellFailed
from variants._base import Head, Repr
from variants.kernels import float32_products

CPU_CACHE_FRIENDLY_BYTES = 64 * 2**20
"""Working memory of a block beyond which larger blocks no longer score faster on a CPU."""
UNDER_WAY = 4
"""Blocks of a GPU whose scores may be on their way: enough that it never waits for the host."""
HALVES = (torch.bfloat16, torch.float16)

Advance = Callable[[int], object]
"""Is told how many more units of work are done."""
Landed = Callable[[Tensor], object]
"""Is told the place of a block, as it was given, once its scores are there."""


def block_shape(head: Head, queries: int, gallery: int, budget: int) -> tuple[int, int]:
    """Queries and gallery images of one `match` call whose working memory stays within `budget` bytes.

    At least one pair. A function of the head and the sizes alone, so that repeating a run repeats its rounding.
    """
    pairs = max(1, budget // max(1, head.pair_bytes()))
    gallery_block = min(gallery, max(1, int(pairs**0.5)))
    query_block = min(queries, max(1, pairs // gallery_block))
    gallery_block = min(gallery, max(1, pairs // query_block))
    return query_block, gallery_block


def score_all(
    head: Head,
    query: Repr,
    gallery: Repr,
    budget: int,
    out: Tensor | None = None,
    scoring: Scoring = "float32",
) -> Tensor:
    """[Q, G] scores in evaluation mode, on the CPU, written to `out` if given.

    As `BlockScorer`, of which the arguments tell.
    """
    scores = torch.empty(len(query), len(gallery)) if out is None else out
    scorer = BlockScorer(head, budget, scoring)
    scorer.score(query, gallery, scores)
    scorer.finish()
    return scores


@dataclass
class _OnItsWay:
    """Scores that a GPU copies to the host, their place, and what is to be told when they are there."""

    event: torch.cuda.Event
    scores: Tensor
    out: Tensor
    told: Callable[[], object] | None


@dataclass
class BlockScorer:
    """Scores pairs in evaluation mode, in blocks whose working memory stays within `budget` bytes.

    Representations in 16 bits are multiplied as they are and summed in float32: under autocast, unless the head's
    `match` takes them as they are. `scoring` tells how a GPU takes products of float32. Where memory runs out, blocks
    are cut in halves from then on, which `say` is told; the order of blocks stays as it was.

    A GPU is never waited for but to take what it finished long before: call `finish` to have all scores.
    """

    head: Head
    budget: int
    scoring: Scoring = "float32"
    say: Callable[[str], object] | None = None
    parts: int = 1
    """Into how many a block is cut."""
    _under_way: deque[_OnItsWay] = field(default_factory=deque)

    @torch.inference_mode()
    def score(self, query: Repr, gallery: Repr, out: Tensor, landed: Landed | None = None, skip: int = 0) -> None:
        """Scores of all pairs into `out` [Q, G] on the CPU. The first `skip` pairs, in the order of blocks, are there.

        Raises CellFailed where memory does not suffice for a single pair.
        """
        self.head.eval()
        tensors = [tensor for _, tensor in query.items()]
        device = tensors[0].device.type
        # On a CPU, memory that blocks of changing size have freed may stay with the process, up to as much again.
        block_bytes = min(self.budget // 2, CPU_CACHE_FRIENDLY_BYTES) if device == "cpu" else self.budget
        rows, columns = block_shape(self.head, len(query), len(gallery), block_bytes)
        with _arithmetic(self.head, tensors, self.scoring):
            for top in range(0, len(query), rows):
                some = query[top : top + rows]
                for left in range(0, len(gallery), columns):
                    others = gallery[left : left + columns]
                    pairs = len(some) * len(others)
                    if skip >= pairs:
                        skip -= pairs
                        continue
                    skip = 0
                    self._score_block(some, others, out[top : top + rows, left : left + columns], landed)

    def finish(self) -> None:
        """Wait until all scores are in their places."""
        while self._under_way:
            self._land()

    def _score_block(self, query: Repr, gallery: Repr, out: Tensor, landed: Landed | None) -> None:
        pairs = len(query) * len(gallery)
        while not self._fits(query, gallery, out, landed):
            # Out here nothing of the failed attempt is held any more.
            self.finish()
            torch.cuda.empty_cache()  # nothing where there is no GPU in use
            if self.parts >= pairs:
                raise CellFailed(
                    "memory does not suffice to match a single pair of images beside what is kept there: lower "
                    "evaluation.gpu_memory_gib on a GPU, --memory elsewhere, or end what else fills the memory"
                )
            self.parts *= 2
            if self.say is not None:
                self.say(f"memory ran out: blocks of pairs are cut into {self.parts} parts from here on")

    def _fits(self, query: Repr, gallery: Repr, out: Tensor, landed: Landed | None) -> bool:
        """Score a block part by part; False if memory ran out."""
        parts = [*_parts(len(query), len(gallery), self.parts)]
        try:
            for number, (rows, columns) in enumerate(parts):
                found = self.head.match(query[rows], gallery[columns])
                last = landed is not None and number == len(parts) - 1
                self._bring(found, out[rows, columns], (lambda: landed(out)) if last else None)
        except Exception as fault:
            if not out_of_memory(fault):
                raise
            return False
        return True

    def _bring(self, scores: Tensor, out: Tensor, told: Callable[[], object] | None) -> None:
        if not scores.is_cuda:
            out.copy_(scores)
            if told is not None:
                told()
            return
        pinned = torch.empty(scores.shape, dtype=scores.dtype, device="cpu", pin_memory=True)
        pinned.copy_(scores, non_blocking=True)
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(scores.device))
        self._under_way.append(_OnItsWay(event, pinned, out, told))
        while len(self._under_way) > UNDER_WAY:
            self._land()

    def _land(self) -> None:
        oldest = self._under_way.popleft()
        oldest.event.synchronize()
        oldest.out.copy_(oldest.scores)
        if oldest.told is not None:
            oldest.told()


@contextlib.contextmanager
def _arithmetic(head: Head, tensors: list[Tensor], scoring: Scoring) -> Iterator[None]:
    half = next((tensor.dtype for tensor in tensors if tensor.dtype in HALVES), None)
    rounded = half is not None and not head.takes_16_bits
    products = float32_products("tf32x3") if scoring == "tf32x3" else contextlib.nullcontext()
    with products, torch.autocast(tensors[0].device.type, half) if rounded else contextlib.nullcontext():
        yield


def _parts(queries: int, gallery: int, number: int) -> Iterator[tuple[slice, slice]]:
    """A block in parts of equal size, about so many: the longer side is halved each time."""
    rows, columns = queries, gallery
    while number > 1 and rows * columns > 1:
        number //= 2
        if rows >= columns:
            rows = -(-rows // 2)
        else:
            columns = -(-columns // 2)
    for top in range(0, queries, rows):
        for left in range(0, gallery, columns):
            yield slice(top, top + rows), slice(left, left + columns)
