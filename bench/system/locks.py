"""Locks between processes, on one machine or several. A lock goes with the process that holds it, however it ends."""

from __future__ import annotations

import fcntl


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
