"""Locks between processes, on one machine or several. A lock goes with the process that holds it, however it ends."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOOK_SECONDS = 0.2


class NoLocks(OSError):
    """The file system keeps no locks."""


def try_lock(handle: int) -> bool:
    """Whether this process has the open file to itself from now on, until it closes it. Raises NoLocks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as fault:
        raise NoLocks(fault.errno, fault.strerror) from fault
    return True


@contextmanager
def alone(path: Path, waits: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of a file, which is made, for the block.

    `waits` is called once if another process holds it, which is then waited for. Raises NoLocks, and OSError if the
    file cannot be made.
    """
    with path.open("w") as lock:
        if not try_lock(lock.fileno()):
            waits()
            while not try_lock(lock.fileno()):
                time.sleep(LOOK_SECONDS)
        yield
