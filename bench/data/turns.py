"""One process at a time makes a file of the cache; the others wait for it, and see how far it is.

On one machine a lock says whose turn it is, and goes with the process that holds it. Some file systems keep locks for
each machine alone (Lustre with `localflock`, some mounts of NFS), so that several machines may hold it at once. So
whoever has it also writes a lease beside it every few seconds, and heeds that of another machine as long as it changes.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.progress import Progress
from bench.system.locks import try_lock

LOOK_SECONDS = 0.2
SILENT_SECONDS = 1.0
"""A turn that takes others less than this is not worth a word."""
BEAT_SECONDS = 2.0
"""How often a lease is written."""
LEASE_SECONDS = 30.0
"""A lease of another machine that has not changed for so long is that of a dead process. Clocks are not compared."""
SETTLING_SECONDS = 1.0
"""How long until a lease that was written is read again: of several machines that write at once the last has it."""

Tell = Callable[[int], None]
"""Takes how many images are done."""


@contextmanager
def turn(path: Path, what: str, count: int, progress: Progress) -> Iterator[Tell]:
    """The block has the making of `path` to itself; it says how many of the `count` images it has done.

    Before that, waits for another process that has it, with a bar, or a line where no bars are drawn. Raises OSError
    where no lock can be had, NoLocks where there are none.
    """
    handle, lease = _open_lock(path), _Lease(path)
    try:
        with _waiting(lease, what, count, progress) as wait:
            while not try_lock(handle):
                wait()
            while not lease.take():
                wait()
        _remove_drafts(path, progress)
        with lease.kept():
            yield lease.tell
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
                # Of a process on another machine only who waits for a turn finds out whether it lives.
                if try_lock(handle) and not _Lease(path).elsewhere:
                    _remove_drafts(path, progress)
            finally:
                os.close(handle)


def temporary(path: Path, word: str) -> Path:
    """A name beside `path` under which something is made for it, and which `remove_leftovers` knows."""
    return path.with_name(f".{path.name}.{word}")


@dataclass
class _Lease:
    """Who makes a file: "process 12 on host", how many images are done, and a key that changes with each writing."""

    target: Path
    mine: str = field(default_factory=lambda: f"process {os.getpid()} on {socket.gethostname()}")
    own: str = field(default_factory=lambda: secrets.token_hex(4))
    done: int = 0
    seen: str | None = None
    since: float = 0.0

    @property
    def path(self) -> Path:
        """Where it lies."""
        return temporary(self.target, "lease")

    @property
    def elsewhere(self) -> bool:
        """Whether there is one, of another machine."""
        text = self._read()
        return text is not None and _host(text) != _host(self.mine)

    def holder(self) -> tuple[str, int]:
        """Who has it, and how many images are done."""
        lines = (self._read() or "").split("\n")
        return (lines[0], int(lines[1])) if len(lines) > 2 and lines[1].isdecimal() else ("another process", 0)

    def take(self) -> bool:
        """Take it, holding the lock, unless a process of another machine may live: then ask again.

        Where it cannot be written, the lock alone counts, and what is in the way is met by the work itself.
        """
        with suppress(OSError):
            text = self._read()
            if text is None:
                try:
                    self.path.open("x").close()  # of several machines one succeeds
                except FileExistsError:
                    return False
            elif _host(text) != _host(self.mine):
                if not self._is_dead(text):
                    return False
                self._write()
                time.sleep(SETTLING_SECONDS)
                return self._is_own()
            self._write()
        return True

    def tell(self, done: int) -> None:
        """Say how many images are done, with the next writing."""
        self.done = done

    @contextmanager
    def kept(self) -> Iterator[None]:
        """It is written again and again during the block, whatever that is at, and gone in the end."""
        stop = threading.Event()

        def write() -> None:
            while not stop.wait(BEAT_SECONDS):
                with suppress(OSError):
                    if self._is_own():
                        self._write()

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            with suppress(OSError):
                if self._is_own():
                    self.path.unlink()

    def _is_dead(self, text: str) -> bool:
        if text != self.seen:
            self.seen, self.since = text, time.monotonic()
        return time.monotonic() - self.since >= LEASE_SECONDS

    def _is_own(self) -> bool:
        return self.own in (self._read() or "")

    def _read(self) -> str | None:
        try:
            return self.path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None

    def _write(self) -> None:
        draft = temporary(self.target, f"lease-{self.own}")
        draft.write_text(f"{self.mine}\n{self.done}\n{self.own} {secrets.token_hex(4)}\n", encoding="utf-8")
        draft.replace(self.path)


def _host(text: str) -> str:
    return text.partition("\n")[0].rpartition(" on ")[2]


def _drafts(path: Path) -> list[Path]:
    keys, prefix = {temporary(path, "lock"), temporary(path, "lease")}, temporary(path, "").name
    return sorted(other for other in path.parent.iterdir() if other.name.startswith(prefix) and other not in keys)


def _remove_drafts(path: Path, progress: Progress) -> None:
    """Needs the lock and the lease: whoever made them is dead."""
    for draft in _drafts(path):
        size = draft.stat().st_size
        draft.unlink()
        progress.say(f"removed {draft} ({size / 1e6:,.1f} MB), which a process that ended had left half-made")


def _open_lock(path: Path) -> int:
    lock = temporary(path, "lock")
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        if not lock.exists():
            raise
        return os.open(lock, os.O_RDONLY)  # a colleague's; on most file systems that is enough


@contextmanager
def _waiting(lease: _Lease, what: str, count: int, progress: Progress) -> Iterator[Callable[[], None]]:
    """Waits a moment each time it is called, and shows, after a second, who is waited for."""
    start, bar = time.monotonic(), None

    def wait() -> None:
        nonlocal bar
        holder, done = lease.holder()
        if bar is None and time.monotonic() - start >= SILENT_SECONDS:
            if not progress.shown:
                progress.say(f"waits for {holder}, which decodes {what}")
            bar = progress.bar(count, f"wait for {holder}: decode {what}", "image")
        if bar is not None:
            bar.update(done - bar.n)
        time.sleep(LOOK_SECONDS)

    try:
        yield wait
    finally:
        if bar is not None:
            bar.close()
