"""From decoded images to what a network takes."""

from __future__ import annotations

import mmap
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class JoinedImages:
    """Images of several sets, one set after the other, each [n, 3, H, W] uint8 where it lies; none is copied."""

    parts: tuple[NDArray[np.uint8], ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def pick(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """A copy of the images at `positions`, counted over all sets. Raises IndexError beyond the last."""
        ends = np.cumsum([len(part) for part in self.parts])
        owners = np.searchsorted(ends, positions, side="right")
        chosen = np.empty((len(positions), *self.parts[0].shape[1:]), np.uint8)
        for owner in np.unique(owners):
            mine = owners == owner
            chosen[mine] = pick(self.parts[owner], positions[mine] - (ends[owner] - len(self.parts[owner])))
        return chosen


@dataclass(frozen=True)
class ChosenImages:
    """Some images of `whole`, those at `positions` [n], where they lie; none is copied."""

    whole: NDArray[np.uint8] | JoinedImages
    positions: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.positions)

    def pick(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """A copy of the images at `positions` among the chosen. Raises IndexError beyond the last."""
        return pick(self.whole, self.positions[positions])


Images = NDArray[np.uint8] | JoinedImages | ChosenImages
"""[n, 3, H, W] RGB, uint8."""


def pick(images: Images, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
    """A copy of the images [n, ...] at `positions`, for which a memory-mapped file is read and let go again.

    Else the system would count the whole file, once read, as memory of this process.
    """
    if isinstance(images, JoinedImages | ChosenImages):
        return images.pick(positions)
    some = np.asarray(images)[positions]
    if isinstance(images, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
        images._mmap.madvise(mmap.MADV_DONTNEED)
    return some


def to_float(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """uint8 [B, 3, H, W] -> float32 in [0, 1] on a device; no mean or deviation is taken off (PROTOCOL, section 1)."""
    return as_float(torch.from_numpy(images).to(device))


def as_float(images: Tensor) -> Tensor:
    """uint8 -> float32 in [0, 1], where it lies."""
    return images.float().div_(255)
