"""Kinds of numbers that records hold, and the smallest groups of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bench.config import Settings

Share = Annotated[float, Field(ge=0, le=1.001)]
"""Of 1, which rounding may exceed."""
Seconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
"""Of things or bytes."""

CLIP_GROUPS = ("per image", "pairs")
"""The groups of parameters whose gradients are clipped together: what sees one image, and what sees pairs."""


class Level(Settings):
    """Accuracy of something that needs no training, in shares of 1."""

    rank1: Share
    mAP: Share


class Look(Settings):
    """How far training was after `step` steps. Means are over the steps since the look before, {} or None without any.

    Steps that fp16 skips count in no mean.
    """

    step: Count
    loss: float | None
    hit: Share | None
    learning_rates: list[float]
    """The present one of each group of layers: those that start from weights, if any, and all others."""
    gradient_norms: dict[str, float]
    """Of each of `CLIP_GROUPS` that has any, before clipping."""
    clipped: dict[str, Share]
    """By the same groups, the share of steps whose gradient was clipped."""
    held_out: Level
    """Accuracy on the training persons held out."""
