"""Peak memory of one work, measured in a process where nothing ran before."""

from __future__ import annotations

import resource
import sys
from dataclasses import replace
from pathlib import Path

import torch

from bench.computing import compute_as_runs_do, out_of_memory
from bench.perf.measure import in_fresh_process
from bench.perf.works import Work, prepare
from bench.stopwatch import peak_bytes, reset_peak
from bench.system.processes import Died


def extra_bytes(work: Work, memory: int) -> int | str:
    """Peak bytes above inputs, scores and gradients of doing a work once; a reason where that fails.

    On a CPU an allocation beyond `memory` bytes fails instead of bringing the machine down.
    """
    try:
        return in_fresh_process(torch.device(work.device), _attempt, work, memory, torch.get_num_threads())
    except Died as fault:
        return str(fault)


def _attempt(work: Work, memory: int, threads: int) -> int | str:
    compute_as_runs_do(torch.device(work.device), threads)
    try:
        return _measure(work, memory)
    except Exception as fault:  # a head from outside may raise anything
        return why_it_failed(fault)


def why_it_failed(fault: Exception) -> str:
    """What to say of a measurement that raised `fault`."""
    return "does not fit in memory" if out_of_memory(fault) else f"{type(fault).__name__}: {fault}"


def _measure(work: Work, memory: int) -> int:
    device = torch.device(work.device)
    # Libraries are loaded and kernels compiled by a small version of it.
    prepare(replace(work, batch=2, tokens=min(work.tokens, 16), width=16, feedforward=16))[0]()
    if device.type == "cpu" and sys.platform == "linux":
        limit = _data_bytes() + memory
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    run, leaves = prepare(work)
    reset_peak(device)
    before = torch.cuda.memory_allocated(device) if device.type == "cuda" else peak_bytes(device)
    scores = run()
    outputs = [scores, *(leaf.grad for leaf in leaves if leaf.grad is not None)]
    kept = sum(output.numel() * output.element_size() for output in outputs)
    return max(0, peak_bytes(device) - before - kept)


def _data_bytes() -> int:
    """What counts towards RLIMIT_DATA so far."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData:"))
