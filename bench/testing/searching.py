"""The best gallery images of each query, from all of them or from a shortlist, without a table of all scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.config import Scoring
from bench.testing.blocks import score_all
from variants._base import Head, Repr

BLOCK_BYTES = 2**28
"""Representations of the gallery that are brought to the device at a time; one image always is."""
QUERIES = 256
"""Queries that go through the gallery together."""


@dataclass(frozen=True, eq=False)
class Found:
    """The best gallery images of Q queries, best first; of equal scores the first in the gallery comes first."""

    position: Tensor
    """[Q, n] int64, positions in the gallery."""
    score: Tensor
    """[Q, n] float32, higher = more alike."""


def gallery_blocks(gallery: Repr, device: torch.device, chosen: Tensor | None = None) -> Iterator[tuple[int, Repr]]:
    """(first image, representations on `device`), block by block; the gallery may be a memory-mapped file.

    With positions `chosen` [n], those images alone, counted as they are chosen.
    """
    size = max(1, BLOCK_BYTES // gallery.bytes_per_image)
    for left in range(0, len(gallery) if chosen is None else len(chosen), size):
        some = slice(left, left + size)
        yield left, gallery[some if chosen is None else chosen[some]].to(device)


@torch.inference_mode()
def find_best(
    head: Head, query: Repr, gallery: Repr, count: int, budget: int, device: torch.device, scoring: Scoring
) -> Found:
    """The best `count` of the gallery, or all if there are fewer. `budget` in bytes and `scoring` are `score_all`'s."""
    parts = [
        _find_best(head, query[top : top + QUERIES].to(device), gallery, count, budget, device, scoring)
        for top in range(0, len(query), QUERIES)
    ]
    return _join(parts)


@torch.inference_mode()
def find_best_among(
    head: Head,
    query: Repr,
    gallery: Repr,
    shortlist: Tensor,
    count: int,
    budget: int,
    device: torch.device,
    scoring: Scoring,
) -> Found:
    """The best `count` among the gallery images at `shortlist` [Q, n], a row of positions for each query."""
    parts = []
    for row, chosen in enumerate(shortlist.sort(dim=1).values):
        found = _find_best(head, query[row : row + 1].to(device), gallery, count, budget, device, scoring, chosen)
        parts.append(Found(chosen[found.position], found.score))
    return _join(parts)


def _find_best(
    head: Head,
    query: Repr,
    gallery: Repr,
    count: int,
    budget: int,
    device: torch.device,
    scoring: Scoring,
    chosen: Tensor | None = None,
) -> Found:
    score, position = torch.empty(len(query), 0), torch.empty(len(query), 0, dtype=torch.int64)
    for left, block in gallery_blocks(gallery, device, chosen):
        score = torch.cat((score, score_all(head, query, block, budget, scoring=scoring)), dim=1)
        here = torch.arange(left, left + len(block)).expand(len(query), -1)
        position = torch.cat((position, here), dim=1)
        # Stable, so that of equal scores the first stays first; `topk` promises no order of these.
        score, order = score.sort(dim=1, descending=True, stable=True)
        score, position = score[:, :count], position.gather(1, order[:, :count])
    return Found(position, score)


def _join(parts: list[Found]) -> Found:
    return Found(torch.cat([part.position for part in parts]), torch.cat([part.score for part in parts]))
