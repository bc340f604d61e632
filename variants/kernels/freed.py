"""Memory that was freed, given back to the system."""

from __future__ import annotations

import ctypes
import functools


def give_back_freed_memory() -> None:
    """Let the C library return freed memory to the system, where it can be told to."""
    trim = getattr(_c_library(), "malloc_trim", None)
    if trim is not None:
        trim(0)


@functools.cache
def _c_library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows has no such handle
        return None
