"""From decoded images to what a network takes."""

from __future__ import annotations

import mmap

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def pick(images: NDArray[np.uint8], positions: NDArray[np.int64]) -> NDArray[np.uint8]:
    """A copy of the images [n, ...] at `positions`, for which a memory-mapped file is read and let go again.

    Else the system would count the whole file, once read, as memory of this process.
    """
    some = np.asarray(images)[positions]
    if isinstance(images, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
        images._mmap.madvise(mmap.MADV_DONTNEED)
    return some


def to_float(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """uint8 [B, 3, H, W] -> float32 in [0, 1] on a device; no mean or deviation is taken off (PROTOCOL, section 1)."""
    return torch.from_numpy(images).to(device).float().div_(255)
