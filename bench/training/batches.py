"""The batches of an epoch, each picked, changed and on the device when the trainer asks for it."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.config import Augmentation
from bench.data.tensors import Images, pick
from bench.training.augment import augment

RESIDENT_SHARE = 0.25
"""Share of a GPU's free memory, at the start of a training, up to which its images are kept there as uint8."""
AHEAD = {"cuda": 2}
"""Batches made ahead, by kind of device. None on a CPU: what a thread beside the training would compute with are the
CPUs that the training has."""
COPIED_AT_ONCE = 1024
"""Images copied to a GPU at a time, so that a memory-mapped file is never in memory as a whole."""

Made = TypeVar("Made")


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
        ids = self._moved(torch.from_numpy(self.ids[positions]))
        if self._resident is None:
            return self._moved(torch.from_numpy(pick(self.images, positions))), ids
        return self._resident.index_select(0, self._moved(torch.from_numpy(positions))), ids

    def changed(self, images: Tensor, epoch: int, first_position: int) -> Tensor:
        """Images as `picked` gives them, as float32 in [0, 1], changed at random as their places in the epoch say."""
        return augment(images, self.augmentation, self.seed, epoch, first_position)

    def of_epoch(self, epoch: int, batches: NDArray[np.int64], done: int = 0) -> Iterator[Batch]:
        """Those of `batches` [steps, B], image positions, behind the first `done`.

        To be closed; then its thread has ended. What goes wrong in the thread is raised where its batch is asked for.
        """
        size = batches.shape[1]
        steps = range(done, len(batches))
        if self.device.type != "cuda":
            return _ahead(lambda step: self.make(epoch, step * size, batches[step]), steps, 0)
        return self._from_own_stream(lambda step: self.make(epoch, step * size, batches[step]), steps)

    def _from_own_stream(self, make: Callable[[int], Batch], steps: Iterable[int]) -> Iterator[Batch]:
        """What `make` gives for each step, made on a stream of its own and handed over to the caller's."""
        stream = torch.cuda.Stream(self.device)
        # What the caller's stream has written so far, such as the images kept on the device, is there for this one.
        stream.wait_stream(torch.cuda.current_stream(self.device))

        def on_stream(step: int) -> tuple[Batch, torch.cuda.Event]:
            # Device and stream belong to a thread.
            with torch.cuda.device(self.device), torch.cuda.stream(stream):
                return make(step), stream.record_event()

        with contextlib.closing(_ahead(on_stream, steps, AHEAD["cuda"])) as made:
            for batch, event in made:
                present = torch.cuda.current_stream(self.device)
                present.wait_event(event)
                for tensor in batch:
                    tensor.record_stream(present)
                yield batch

    def _moved(self, tensor: Tensor) -> Tensor:
        """On the device; to a GPU from pinned memory, so that the host goes on meanwhile."""
        if self.device.type != "cuda":
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)


def _ahead(make: Callable[[int], Made], places: Iterable[int], most: int) -> Iterator[Made]:
    """make(place) of each place in order, up to `most` of them made ahead by a thread; 0: each when it is asked for."""
    if not most:
        yield from map(make, places)
        return
    pool = ThreadPoolExecutor(1, "batches")
    under_way: deque[Future[Made]] = deque()
    try:
        for place in places:
            under_way.append(pool.submit(make, place))
            if len(under_way) > most:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
