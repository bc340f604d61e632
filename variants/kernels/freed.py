"""Memory that was freed: kept for what comes next, or given back to the system."""

from __future__ import annotations

import ctypes
import functools

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h."""

LARGEST_KEPT = 2**28, 2**25
"""Bytes of a buffer up to which its memory is kept; the second where an older C library allows no more."""


def keep_freed_memory() -> None:
    """Let the C library keep the memory of freed buffers until `give_back_freed_memory`, where it can be told to.

    Else each large buffer of a training step is asked of the system anew, which clears it page by page. Buffers beyond
    LARGEST_KEPT, as of many images' representations, are the system's again as soon as they are freed. Holds for the
    whole process and for all that it forks.
    """
    library = _c_library()
    # Others that have the function may number its options otherwise.
    if not (hasattr(library, "mallopt") and hasattr(library, "gnu_get_libc_version")):
        return
    if any(library.mallopt(_MMAP_THRESHOLD, size) for size in LARGEST_KEPT):
        library.mallopt(_TRIM_THRESHOLD, -1)


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
