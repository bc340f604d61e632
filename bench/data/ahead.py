"""What a GPU is to work on next, made meanwhile: by a thread, on a stream of its own."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.tensors import Images, pick

AHEAD = 2
"""Things made ahead for a GPU. None on a CPU: what a thread beside the work would compute with are the CPUs that the
work has."""

Made = TypeVar("Made")
Tensors = TypeVar("Tensors", bound=tuple[Tensor, ...])


def ahead(make: Callable[[int], Made], places: Iterable[int], most: int) -> Iterator[Made]:
    """make(place) of each place in order, up to `most` of them made ahead by a thread; 0: each when it is asked for.

    To be closed; then the thread has ended. What goes wrong in it is raised where its result is asked for.
    """
    if not most:
        yield from map(make, places)
        return
    pool = ThreadPoolExecutor(1, "ahead")
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


def ahead_on_device(make: Callable[[int], Tensors], places: Iterable[int], device: torch.device) -> Iterator[Tensors]:
    """As `ahead`, for tensors on a device: on a GPU made on a stream of their own and handed over to the caller's."""
    if device.type != "cuda":
        yield from map(make, places)
        return
    stream = torch.cuda.Stream(device)
    # What the caller's stream has written so far is there for this one.
    stream.wait_stream(torch.cuda.current_stream(device))

    def on_stream(place: int) -> tuple[Tensors, torch.cuda.Event]:
        # Device and stream belong to a thread.
        with torch.cuda.device(device), torch.cuda.stream(stream):
            return make(place), stream.record_event()

    with contextlib.closing(ahead(on_stream, places, AHEAD)) as made:
        for tensors, event in made:
            present = torch.cuda.current_stream(device)
            present.wait_event(event)
            for tensor in tensors:
                tensor.record_stream(present)
            yield tensors


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """On the device; to a GPU from pinned memory, so that the host goes on meanwhile."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def picked(images: Images, parts: Sequence[NDArray[np.int64]], device: torch.device) -> Iterator[Tensor]:
    """The images at each of `parts`, positions [b], one after another: uint8 [b, 3, H, W] on a device.

    For a GPU the next ones are picked and copied meanwhile. To be closed.
    """

    def make(number: int) -> tuple[Tensor]:
        return (moved(torch.from_numpy(pick(images, parts[number])), device),)

    with contextlib.closing(ahead_on_device(make, range(len(parts)), device)) as made:
        for (pixels,) in made:
            yield pixels
