"""One process at a time makes a file of the cache; the others wait for it, and see how far it is."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tqdm import tqdm

from bench.progress import Progress
from bench.system.locks import try_lock

LOOK_SECONDS = 0.2
SILENT_SECONDS = 1.0
"""A lock held for less than this is not worth a word."""

Tell = Callable[[int], None]
"""Takes how many images are done."""


@contextmanager
def turn(path: Path, what: str, count: int, progress: Progress) -> Iterator[Tell]:
    """The block has the making of `path` to itself; it says how many of the `count` images it has done.

    Before that, waits for another process that has it, with a bar, or a line where no bars are drawn. Raises OSError
    where no lock can be had, NoLocks where there are none.
    """
    handle = _open_lock(path)
    try:
        _wait(handle, what, count, progress)
        _remove_drafts(path, progress)
        told = 0.0

        def tell(done: int) -> None:
            nonlocal told
            if time.monotonic() - told >= LOOK_SECONDS:
                told = time.monotonic()
                _write_state(handle, done)

        tell(0)
        yield tell
    finally:
        os.close(handle)


def remove_leftovers(cache: Path, progress: Progress) -> None:
    """Delete what processes that died have left half-made in a cache folder, and say so."""
    for path in {cache / f"{left.name[1:].rpartition('.npy.')[0]}.npy" for left in cache.glob(".*.npy.*")}:
        if not _drafts(path):
            continue
        # Where the lock cannot be had, or a file not be deleted, it stays for somebody who can.
        with suppress(OSError):
            handle = _open_lock(path)
            try:
                if try_lock(handle):
                    _remove_drafts(path, progress)
            finally:
                os.close(handle)


def temporary(path: Path, word: str) -> Path:
    """A name beside `path` under which something is made for it, and which `remove_leftovers` knows."""
    return path.with_name(f".{path.name}.{word}")


def _lock_path(path: Path) -> Path:
    return temporary(path, "lock")


def _drafts(path: Path) -> list[Path]:
    lock, prefix = _lock_path(path), temporary(path, "").name
    return sorted(other for other in path.parent.iterdir() if other.name.startswith(prefix) and other != lock)


def _remove_drafts(path: Path, progress: Progress) -> None:
    """Needs the lock: whoever made them is dead."""
    for draft in _drafts(path):
        size = draft.stat().st_size
        draft.unlink()
        progress.say(f"removed {draft} ({size / 1e6:,.1f} MB), which a process that ended had left half-made")


def _open_lock(path: Path) -> int:
    lock = _lock_path(path)
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        if not lock.exists():
            raise
        return os.open(lock, os.O_RDONLY)  # a colleague's; on most file systems that is enough


def _wait(handle: int, what: str, count: int, progress: Progress) -> None:
    start, bar = time.monotonic(), None
    try:
        while not try_lock(handle):
            if bar is None and time.monotonic() - start >= SILENT_SECONDS:
                bar = _announce(_holder(handle)[0], what, count, progress)
            if bar is not None:
                bar.update(_holder(handle)[1] - bar.n)
            time.sleep(LOOK_SECONDS)
    finally:
        if bar is not None:
            bar.close()


def _announce(holder: str, what: str, count: int, progress: Progress) -> tqdm:
    if not progress.shown:
        progress.say(f"waits for {holder}, which decodes {what}")
    return progress.bar(count, f"wait for {holder}: decode {what}", "image")


def _write_state(handle: int, done: int) -> None:
    # It only informs: neither a full disk nor a lock file that may not be written ends the work.
    with suppress(OSError):
        os.ftruncate(
            handle, os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n{done}\n".encode(), 0)
        )


def _holder(handle: int) -> tuple[str, int]:
    """Who has the lock, and how many images it has done."""
    try:
        name, done, *_ = os.pread(handle, 1000, 0).decode(errors="replace").split("\n")
        return name, int(done)
    except (OSError, ValueError):
        return "another process", 0
