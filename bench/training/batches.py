"""The batches of an epoch, each picked, changed and on the device when the trainer asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.config import Augmentation
from bench.data.ahead import ahead_on_device, moved
from bench.data.tensors import Images, pick
from bench.training.augment import augment

RESIDENT_SHARE = 0.25
"""Share of a GPU's free memory, at the start of a training, up to which its images are kept there as uint8."""
COPIED_AT_ONCE = 1024
"""Images copied to a GPU at a time, so that a memory-mapped file is never in memory as a whole."""


class Batch(NamedTuple):
    """Images [B, 3, H, W] float32 in [0, 1], changed at random, and their persons [B]; on the device."""

    images: Tensor
    ids: Tensor


class Batches:
    """Makes batches from a training set, with changes that depend on (seed, epoch, place in the epoch) alone.

    On a GPU they are made ahead by a thread, copied from pinned memory and changed on a stream of their own.
    """

    def __init__(
        self, images: Images, ids: NDArray[np.int64], augmentation: Augmentation, seed: int, device: torch.device
    ) -> None:
        """`images` [n, 3, H, W] uint8 and `ids` [n], the persons."""
        self.images, self.ids, self.augmentation, self.seed, self.device = images, ids, augmentation, seed, device
        self._resident: Tensor | None = None

    @property
    def resident_bytes(self) -> int:
        """Bytes of the device's memory that the whole set takes there; 0 where it is not kept there."""
        return 0 if self._resident is None else self._resident.nbytes

    def keep_on_device(self) -> None:
        """Copy all images to a GPU if they take no more than RESIDENT_SHARE of its free memory; else do nothing."""
        if self.device.type != "cuda" or self._resident is not None:
            return
        shape = (len(self.images), *pick(self.images, np.arange(1)).shape[1:])
        free, _ = torch.cuda.mem_get_info(self.device)
        if np.prod(shape) > RESIDENT_SHARE * free:
            return
        resident = torch.empty(shape, dtype=torch.uint8, device=self.device)
        for start in range(0, len(resident), COPIED_AT_ONCE):
            part = resident[start : start + COPIED_AT_ONCE]
            part.copy_(torch.from_numpy(pick(self.images, np.arange(start, start + len(part)))))
        self._resident = resident

    def make(self, epoch: int, first_position: int, positions: NDArray[np.int64]) -> Batch:
        """The images at `positions` [B] of the set, which stand at first_position, +1, ... of the epoch."""
        images, ids = self.picked(positions)
        return Batch(self.changed(images, epoch, first_position), ids)

    def picked(self, positions: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """The images [B, 3, H, W] uint8 at `positions` and their persons [B], on the device."""
        ids = moved(torch.from_numpy(self.ids[positions]), self.device)
        if self._resident is None:
            return moved(torch.from_numpy(pick(self.images, positions)), self.device), ids
        return self._resident.index_select(0, moved(torch.from_numpy(positions), self.device)), ids

    def changed(self, images: Tensor, epoch: int, first_position: int) -> Tensor:
        """Images as `picked` gives them, as float32 in [0, 1], changed at random as their places in the epoch say."""
        return augment(images, self.augmentation, self.seed, epoch, first_position)

    def of_epoch(self, epoch: int, batches: NDArray[np.int64], done: int = 0) -> Iterator[Batch]:
        """Those of `batches` [steps, B], image positions, behind the first `done`.

        To be closed; then its thread has ended. What goes wrong in the thread is raised where its batch is asked for.
        """
        size = batches.shape[1]
        steps = range(done, len(batches))
        return ahead_on_device(lambda step: self.make(epoch, step * size, batches[step]), steps, self.device)
