"""Local matches of pairs of images, as a network's head tells them, and how strong one must be to count."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from bench.errors import UserError
from bench.network.matcher import Matcher
from variants._base import LocalMatches

BLOCK_BYTES = 64 * 2**20
"""Working memory of a block of pairs."""


@torch.inference_mode()
def local_matches(
    model: Matcher, query: NDArray[np.uint8], gallery: NDArray[np.uint8], batch: int = 32
) -> list[LocalMatches]:
    """The levels of the pairs (query[i], gallery[i]), images [n, 3, H, W] each; on the CPU, in float32.

    `batch` images are encoded at a time. Raises UserError for a head that offers no local matches.
    """
    head = model.head
    if not head.offers_local_matches:
        name = type(head).__name__
        raise UserError(f"{name} offers no local matches; choose the run of a head that does")
    every = np.arange(len(query))
    ours, theirs = (model.encode_all(images, every, batch) for images in (query, gallery))
    # Similarities of all positions with all, their weighted copy, and what their maxima take.
    size = max(1, BLOCK_BYTES // max(head.pair_bytes(), 4 * 4 * head.tokens**2))
    blocks = [
        head.local_matches(ours[start : start + size], theirs[start : start + size])
        for start in range(0, len(query), size)
    ]
    return [_join(parts) for parts in zip(*blocks, strict=True)]


def _join(parts: tuple[LocalMatches, ...]) -> LocalMatches:
    names = ("query_cell", "gallery_cell", "similarity", "weight", "score")
    tensors = {name: torch.cat([getattr(part, name) for part in parts]).cpu() for name in names}
    return LocalMatches(parts[0].level, **tensors)


def threshold_at(far: float, values_of_negative_pairs: NDArray[np.floating]) -> float:
    """The lowest similarity above which at most the share `far` of all matches of negative pairs lies.

    A match passes if it is above it, so that of matches that are as strong as each other all pass or none. `far` is in
    [0, 1). Raises ValueError for no values, and for NaN.
    """
    values = np.sort(np.ravel(values_of_negative_pairs))[::-1]
    if not len(values) or np.isnan(values).any():
        raise ValueError("a threshold needs matches of negative pairs, all of them numbers")
    # Exact: a product of floats may be rounded up to a whole number that is one too many.
    return float(values[math.floor(Fraction(far) * len(values))])
