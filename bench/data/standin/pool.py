"""Processes that draw beside the one that asks for it."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

from bench.system.processes import serve_parent


@contextmanager
def drawing_pool(workers: int) -> Iterator[ProcessPoolExecutor | None]:
    """So many worker processes, which end with the block; None for 0."""
    if workers <= 0:
        yield None
        return
    # Spawned, not forked: the caller may hold threads of torch or of a progress bar.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=serve_parent)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
