"""Random streams that depend on nothing but what names them.

Every draw comes from (seed, purpose, place), never from the state that earlier draws left behind, so the number of
workers, a resumed run or a skipped step cannot change a result.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from enum import IntEnum
from typing import Any

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
    EPOCH_PERSONS = 9
    HELD_OUT = 10
    EXAMPLE_PAIRS = 11
    DIFFERENT_PERSONS = 12
    PRETRAINING = 13


def generator(seed: int, stream: Stream, *place: int) -> np.random.Generator:
    """The generator of (seed, stream, place)."""
    return np.random.default_rng((seed, int(stream), *place))


@contextlib.contextmanager
def torch_seeded(seed: int, stream: Stream, *place: int) -> Iterator[None]:
    """torch's global generator, seeded for the block and put back after it: for code that knows no other."""
    # A GPU's generator is seeded with it; of one that nobody has used yet there is nothing to put back.
    gpus = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(int(generator(seed, stream, *place).integers(2**63)))
        yield


def random_states(device: torch.device) -> dict[str, Any]:
    """The states of all global generators, for code that draws from them, as tensors and plain values."""
    version, state, gauss = random.getstate()
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "python": [version, list(state), gauss],
        "numpy": numpy_state | {"state": {**numpy_state["state"], "key": numpy_state["state"]["key"].tolist()}},
    }


def restore_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Put all global generators to where `random_states` found them."""
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)
    version, state, gauss = states["python"]
    random.setstate((version, tuple(state), gauss))
    inner = states["numpy"]["state"]
    numpy_state = states["numpy"] | {"state": {**inner, "key": np.array(inner["key"], dtype=np.uint32)}}
    np.random.set_state(numpy_state)  # noqa: NPY002
