"""Random streams that depend on nothing but what names them.

Every draw comes from (seed, purpose, place), never from the state that earlier draws left behind, so the number of
workers, a resumed run or a skipped step cannot change a result.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """Purposes of random numbers; values are part of what a seed means."""

    BACKBONE = 1
    HEAD = 2
    REPRESENTATIVES = 3
    DEALS = 4
    BATCH_ORDER = 5
    AUGMENTATION = 6
    CALIBRATION = 7
    TORCH = 8


def generator(seed: int, stream: Stream, *place: int) -> np.random.Generator:
    """The generator of (seed, stream, place)."""
    return np.random.default_rng((seed, int(stream), *place))


@contextlib.contextmanager
def torch_seeded(seed: int, stream: Stream, *place: int) -> Iterator[None]:
    """torch's global generator, seeded for the block and put back after it: for code that knows no other."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(seed, stream, *place).integers(2**63)))
        yield
