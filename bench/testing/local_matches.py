"""Which positions of two images a network matches, for pairs of images, within the memory of one block of pairs."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.errors import UserError
from bench.network.matcher import Matcher
from variants._base import LocalMatches

BLOCK_BYTES = 2**28
"""Bound on the working memory of the pairs that are matched at a time; one pair always is."""

MOST_PAIRS = 64
"""Pairs whose images are encoded at a time: as many as a test takes, by default."""

_TABLES = 8
"""Tables of T x T float32 values that a pair was measured to take at most, with their copies."""


def check_offered(model: Matcher, head: str) -> None:
    """Raise UserError, with the head's name, unless it offers local matches."""
    if not model.head.offers_local_matches:
        raise UserError(
            f"{head} offers no local matches: it does not say which positions of two pictures it matched; "
            "choose the run of a head whose class says offers_local_matches = True"
        )


@torch.inference_mode()
def local_matches(model: Matcher, query: NDArray[np.uint8], gallery: NDArray[np.uint8]) -> list[LocalMatches]:
    """The levels of n pairs, query[i] with gallery[i], both [n, 3, H, W] RGB; on the CPU, in evaluation mode.

    Encoded and matched in float32, as a test is. The head must offer local matches. Raises ValueError unless there
    are as many images of both sides, and at least one.
    """
    if len(query) != len(gallery) or not len(query):
        raise ValueError(f"pairs need as many images of both sides, and some: {len(query)} and {len(gallery)}")
    size = block_pairs(model)
    blocks = []
    for start in range(0, len(query), size):
        sides = (images[start : start + size] for images in (query, gallery))
        one, other = (model.encode_all(images, np.arange(len(images)), MOST_PAIRS) for images in sides)
        blocks.append(model.head.local_matches(one, other))
    return [_join(list(levels)) for levels in zip(*blocks, strict=True)]


def block_pairs(model: Matcher) -> int:
    """How many pairs are matched at a time."""
    head = model.head
    pair_bytes = head.pair_bytes() + 4 * _TABLES * head.tokens**2
    return min(MOST_PAIRS, max(1, BLOCK_BYTES // pair_bytes))


def _join(parts: list[LocalMatches]) -> LocalMatches:
    """One level of all blocks."""
    names = ("query_cell", "gallery_cell", "similarity", "weight", "score")
    whole: dict[str, Tensor] = {name: torch.cat([getattr(part, name).cpu() for part in parts]) for name in names}
    return replace(parts[0], **whole)


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
