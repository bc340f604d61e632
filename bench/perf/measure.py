"""Interleaved timing, and matrix products alone as the limit."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.system.processes import call_apart, forking
from variants._base import Product

LEAST_REPEATS = 3
"""Repeats that are made however long they take."""

PATIENCE = 60.0
"""Seconds after which a comparison is repeated no more."""


LARGEST_OUTPUT = 2**27
"""Entries of the output of one matrix product of the limit; a larger one is cut into several, along its rows."""


def interleave(
    runs: dict[str, Callable[[], object]], repeats: int, device: torch.device, patience: float = PATIENCE
) -> dict[str, list[float]]:
    """Seconds of each function, called in turn, so that whatever else the machine does meets all of them.

    Each is called once before, unmeasured. At most `repeats` rounds; fewer, but at least LEAST_REPEATS (or `repeats`),
    if they take more than `patience` seconds in all.
    """
    for run in runs.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    begin = time.perf_counter()
    for done in range(repeats):
        if done >= LEAST_REPEATS and time.perf_counter() - begin > patience:
            break
        for name, run in runs.items():
            seconds[name].append(seconds_of(run, device))
    return seconds


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    """Wall-clock seconds of one call; a GPU's queue is emptied before and after."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def in_fresh_process(device: torch.device, function: Callable[..., Any], *arguments: object) -> Any:
    """What a function returns in a process where nothing ran before. Raises what it raises, or Died.

    Blocks of a GPU that PyTorch keeps here for later would be missing there: they are given back first.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return call_apart(forking(function.__module__), function, *arguments)


def products_run(
    products: Sequence[Product], backward: bool, dtype: torch.dtype, device: torch.device
) -> Callable[[], None]:
    """A function that does the matrix products alone, each as one large product into memory that is there already."""
    jobs: list[tuple[Tensor, Tensor, Tensor, int]] = []
    made: dict[tuple[int, int, int], tuple[Tensor, Tensor, Tensor]] = {}
    for product in products:
        passes = 3 if backward and not product.forward_only else 1
        for shape in itertools.chain.from_iterable(_cut(*whole) for whole in _shapes(product)[:passes]):
            if shape not in made:
                rows, inner, columns = shape
                made[shape] = (
                    torch.randn(rows, inner).to(device, dtype),
                    torch.randn(inner, columns).to(device, dtype),
                    torch.empty(rows, columns, dtype=dtype, device=device),
                )
            jobs.append((*made[shape], product.times))

    def run() -> None:
        for left, right, out, times in jobs:
            for _ in range(times):
                torch.mm(left, right, out=out)

    return run


def _shapes(product: Product) -> list[tuple[int, int, int]]:
    """Of the forward pass, of the gradient of the left, of the gradient of the right."""
    rows, inner, columns = product.rows, product.inner, product.columns
    return [(rows, inner, columns), (rows, columns, inner), (inner, rows, columns)]


def _cut(rows: int, inner: int, columns: int) -> list[tuple[int, int, int]]:
    most = max(1, LARGEST_OUTPUT // columns)
    return [(min(most, rows - top), inner, columns) for top in range(0, rows, most)]
