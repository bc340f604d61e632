"""Seconds by phase, and the peak of memory: since the last reset, and over all resets."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from variants.kernels import give_back_freed_memory

Moment = float | torch.cuda.Event
"""Seconds of the host's clock, or a mark in a GPU's queue."""


class Stopwatch:
    """Seconds by phase: by the host's clock, or on a GPU from one mark in its queue to another, for which nobody waits.

    Phases of a GPU that are not over yet are waited for only where their seconds are asked for.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._seconds: dict[str, float] = {}
        self._open: dict[str, Moment] = {}
        """When the phases under way began."""
        self._queued: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        """Phases that the host has behind it, but that a GPU may not have."""

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of the phases that are over, a copy."""
        self._settle(wait=True)
        return dict(self._seconds)

    @contextmanager
    def phase(self, name: str, host: bool = False) -> Iterator[None]:
        """Add the block's duration to a phase. `host`: it is work of the host alone, beside which a GPU goes on."""
        self._open[name] = self._now(host)
        try:
            yield
        finally:
            start, end = self._open.pop(name), self._now(host)
            if isinstance(start, float):
                self.add({name: end - start})
            else:
                self._queued.append((name, start, end))
                self._settle(wait=False)

    def so_far(self) -> dict[str, float]:
        """Seconds with those of the phases under way."""
        total = self.seconds
        for name, start in list(self._open.items()):
            now = self._now(host=isinstance(start, float))
            total[name] = total.get(name, 0.0) + _between(start, now)
        return total

    def add(self, seconds: dict[str, float]) -> None:
        """Seconds of an earlier segment of the same work."""
        for name, spent in seconds.items():
            self._seconds[name] = self._seconds.get(name, 0.0) + spent

    def _now(self, host: bool) -> Moment:
        if host or self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def _settle(self, wait: bool) -> None:
        """Add up what the GPU has behind it; with `wait` all that is queued."""
        while self._queued and (wait or self._queued[0][2].query()):
            name, start, end = self._queued.pop(0)
            self.add({name: _between(start, end)})


def _between(start: Moment, end: Moment) -> float:
    if isinstance(start, float):
        return end - start
    end.synchronize()
    return start.elapsed_time(end) / 1000


class WholePeaks:
    """Peaks of this process over a stretch of work, whatever resets: bytes of the machine and of the GPU."""

    def __init__(self) -> None:
        self.host = self.gpu = 0

    def note(self, device: torch.device) -> None:
        """Take in the peaks since the last reset. Of a GPU what PyTorch's allocator held counts, used or not."""
        self.host = max(self.host, peak_bytes(torch.device("cpu")))
        if device.type == "cuda" and torch.cuda.is_initialized():
            self.gpu = max(self.gpu, torch.cuda.max_memory_reserved(device))


_noted: WholePeaks | None = None


def begin_whole_peaks(device: torch.device) -> WholePeaks:
    """Begin to follow the peaks of this process over all resets to come, until this is called again."""
    global _noted
    _noted = None
    reset_peak(torch.device("cpu"))
    if device.type == "cuda" and torch.cuda.is_initialized():
        reset_peak(device)
    _noted = WholePeaks()
    return _noted


def reset_peak(device: torch.device) -> None:
    """Begin a new measurement of peak memory, where the system allows it. On a CPU freed memory is given back first:
    else what comes would be said to take what was there before, or use it again unseen."""
    if _noted is not None:
        _noted.note(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    give_back_freed_memory()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def peak_bytes(device: torch.device) -> int:
    """Peak memory in bytes since `reset_peak`: of the device where it is a GPU, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
