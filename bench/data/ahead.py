"""Images on their device before they are wanted: a GPU computes while the next are picked and copied."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.tensors import Images, pick

AHEAD = 2
"""Batches that wait on a GPU, at most."""
_PATIENCE = 0.1
"""Seconds after which a thread that waits looks whether it is still wanted."""


def picked(images: Images, parts: Sequence[NDArray[np.int64]], device: torch.device) -> Iterator[Tensor]:
    """The images at each of `parts`, positions [b], one after another: uint8 [b, 3, H, W] on a device.

    For a GPU a thread picks the next ones meanwhile, into pinned memory from which a stream of their own copies them.
    Close the iterator (`contextlib.closing`) where it may not be gone through.
    """
    if device.type == "cuda":
        yield from _picked_beside(images, parts, device)
        return
    for positions in parts:
        yield torch.from_numpy(pick(images, positions)).to(device)


@dataclass
class _Copied:
    """A batch on its way: what it is copied from stays until it is there."""

    images: Tensor
    there: torch.cuda.Event
    pinned: Tensor


def _picked_beside(images: Images, parts: Sequence[NDArray[np.int64]], device: torch.device) -> Iterator[Tensor]:
    ready: queue.Queue[_Copied | BaseException] = queue.Queue(AHEAD)
    unwanted = threading.Event()

    def offer(item: _Copied | BaseException) -> None:
        while not unwanted.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=_PATIENCE)
                return

    def work() -> None:
        try:
            with torch.cuda.device(device), torch.cuda.stream(torch.cuda.Stream(device)):
                for positions in parts:
                    if unwanted.is_set():
                        return
                    pinned = torch.from_numpy(pick(images, positions)).pin_memory()
                    copied = pinned.to(device, non_blocking=True)
                    there = torch.cuda.Event()
                    there.record()
                    offer(_Copied(copied, there, pinned))
        except BaseException as fault:  # whoever waits for the images is told
            offer(fault)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        for _ in parts:
            found = ready.get()
            if isinstance(found, BaseException):
                raise found
            current = torch.cuda.current_stream(device)
            current.wait_event(found.there)
            found.images.record_stream(current)
            yield found.images
    finally:
        unwanted.set()
        thread.join()
