"""Telling a process from another that was given its number later."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from bench.config import Settings
from bench.journal.heartbeat import this_host

PROC = Path("/proc")
PATIENCE = 5.0
"""Seconds that `ps` may take, where there is no /proc."""


class Process(Settings):
    """A process that is to be found again by others. Host, start and command together are no other's."""

    host: str
    pid: int
    started: str
    """The machine's boot and the moment since then, or whatever `ps` calls its start."""
    command: tuple[str, ...]

    @property
    def lives(self) -> bool | None:
        """Whether it runs; None on another host, from where that cannot be told."""
        return identify(self.pid) == self if self.host == this_host() else None


def identify(pid: int) -> Process | None:
    """The process that has a number on this machine now; None if none has it, or none that still does anything."""
    account = _read_proc(pid) if PROC.is_dir() else _ask_ps(pid)
    return Process(host=this_host(), pid=pid, started=account[0], command=account[1]) if account is not None else None


def end(process: Process) -> bool:
    """Ask a process to leave by SIGTERM. False where it has ended, belongs to somebody else or runs elsewhere."""
    try:
        # Held by its descriptor, it cannot give its number to another between the look and the signal.
        handle = os.pidfd_open(process.pid) if hasattr(os, "pidfd_open") else None
    except OSError:
        return False
    try:
        if not process.lives:
            return False
        if handle is not None:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
        else:
            os.kill(process.pid, signal.SIGTERM)
        return True
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        if handle is not None:
            os.close(handle)


def descends_from(pid: int, ancestor: int) -> bool:
    """Whether a process of this machine is another, or was started by it, or by one that it started, and so on."""
    seen: set[int] = set()
    while pid > 1 and pid not in seen:
        if pid == ancestor:
            return True
        seen.add(pid)
        pid = _parent(pid)
    return False


def _parent(pid: int) -> int:
    if PROC.is_dir():
        fields = _stat(pid)
        return int(fields[1]) if fields else 0
    told = _ps(pid, "ppid=").strip()
    return int(told) if told.isdecimal() else 0


def _read_proc(pid: int) -> tuple[str, tuple[str, ...]] | None:
    fields = _stat(pid)
    if not fields or fields[0] in "ZX":
        return None
    boot, command = _read("sys/kernel/random/boot_id").strip(), _read(f"{pid}/cmdline")
    return f"{boot}+{fields[19]}", tuple(command.split("\0")[:-1])


def _stat(pid: int) -> list[str]:
    """What /proc/<pid>/stat says from the state on; nothing if there is no such process."""
    # The command's name stands before it in parentheses and may hold anything.
    return _read(f"{pid}/stat").rpartition(")")[2].split()


def _read(name: str) -> str:
    """A file of /proc, or "" where it is gone or kept from us."""
    try:
        return (PROC / name).read_bytes().decode(errors="backslashreplace")
    except OSError:
        return ""


def _ask_ps(pid: int) -> tuple[str, tuple[str, ...]] | None:
    state, _, _ = _ps(pid, "state=").strip().partition(" ")
    started, command = _ps(pid, "lstart=").strip(), _ps(pid, "command=").strip()
    return (started, (command,)) if started and not state.startswith("Z") else None


def _ps(pid: int, column: str) -> str:
    words = ["ps", "-p", str(pid), "-o", column]
    try:
        done = subprocess.run(words, capture_output=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")
