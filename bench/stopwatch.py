"""Seconds by phase, and the peak of memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch


@dataclass
class Stopwatch:
    """Wall-clock seconds by phase; a GPU's queue is emptied before each reading."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=dict)
    _open: dict[str, float] = field(default_factory=dict)
    """When the phases under way began."""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the block's duration to a phase."""
        self._wait()
        self._open[name] = time.perf_counter()
        try:
            yield
        finally:
            self._wait()
            self.add({name: time.perf_counter() - self._open.pop(name)})

    def so_far(self) -> dict[str, float]:
        """Seconds with those of the phases under way."""
        now = time.perf_counter()
        total = dict(self.seconds)
        for name, start in self._open.items():
            total[name] = total.get(name, 0.0) + now - start
        return total

    def add(self, seconds: dict[str, float]) -> None:
        """Seconds of an earlier segment of the same work."""
        for name, spent in seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + spent

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def reset_peak(device: torch.device) -> None:
    """Begin a new measurement of peak memory, where the system allows it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
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
