"""What a run takes of its machine, measured in its own process."""

from __future__ import annotations

import os
import subprocess
import time

import torch

from bench.environment import cpus
from bench.journal.usage import Usage
from bench.stopwatch import begin_whole_peaks

SAMPLE_SECONDS = 30.0
"""How often the driver is asked how busy the GPU is."""
PATIENCE = 5.0
"""Seconds that it may take to answer."""


class RunMeter:
    """Follows this process from its construction on, and adds what earlier processes of the run took."""

    def __init__(self, device: torch.device, earlier: Usage | None = None) -> None:
        self._device, self._earlier = device, earlier
        self._start, self._cpu_start = time.monotonic(), _cpu_seconds()
        self._peaks = begin_whole_peaks(device)
        self._busy, self._samples = 0.0, 0
        if earlier is not None and earlier.gpu_busy is not None:
            self._busy, self._samples = earlier.gpu_busy * earlier.gpu_samples, earlier.gpu_samples
        self._next_sample = self._start if device.type == "cuda" and torch.version.hip is None else float("inf")

    def sample(self) -> None:
        """Ask NVIDIA's driver how busy the GPU is, if it is time; nobody else says it."""
        if time.monotonic() < self._next_sample or not torch.cuda.is_initialized():
            return
        self._next_sample = time.monotonic() + SAMPLE_SECONDS
        busy = gpu_busy(str(torch.cuda.get_device_properties(self._device).uuid))
        if busy is None:
            self._next_sample = float("inf")
        else:
            self._busy, self._samples = self._busy + busy, self._samples + 1

    def usage(self) -> Usage:
        """What all processes of the run have taken so far."""
        self._peaks.note(self._device)
        before, gpu = self._earlier, self._peaks.gpu
        samples = self._samples
        return Usage(
            seconds=time.monotonic() - self._start + (before.seconds if before else 0.0),
            cpu_seconds=max(0.0, _cpu_seconds() - self._cpu_start) + (before.cpu_seconds if before else 0.0),
            cpus=cpus(),
            host_bytes=max(self._peaks.host, before.host_bytes if before else 0),
            gpu_bytes=max(gpu, (before and before.gpu_bytes) or 0) or None,
            gpu_total_bytes=self._gpu_total() or (before and before.gpu_total_bytes),
            gpu_busy=min(1.0, self._busy / samples) if samples else None,
            gpu_samples=samples,
        )

    def _gpu_total(self) -> int | None:
        if self._device.type != "cuda" or not torch.cuda.is_initialized():
            return None
        return torch.cuda.get_device_properties(self._device).total_memory


def gpu_busy(uuid: str) -> float | None:
    """The share of the last moments (NVIDIA says: a sixth of a second to one) in which a GPU computed anything.

    None where nvidia-smi is not there, does not answer in time, or does not know, as of a part of a card (MIG).
    """
    command = ["nvidia-smi", f"--id=GPU-{uuid}", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    told = done.stdout.strip()
    return min(int(told), 100) / 100 if done.returncode == 0 and told.isdecimal() else None


def _cpu_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
