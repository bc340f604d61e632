"""Whether the process that wrote a heartbeat lives."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.journal.heartbeat import BEAT_SECONDS, Heartbeat, is_fresh, read_heartbeat, this_host
from bench.journal.record import is_running

PATIENCE = 2 * BEAT_SECONDS
"""Seconds in which a process that lives changes its heartbeat."""


def lives(folder: Path, heartbeat: Heartbeat | None) -> bool | None:
    """Whether a cell's process lives, by its lock and the dates of its heartbeat; None where the clocks disagree.

    It holds the cell's lock. Where that cannot be seen, which is on other machines, its heartbeat is fresh.
    """
    if heartbeat is None or heartbeat.state != "running":
        return False
    held = is_running(folder)
    if held or (held is False and heartbeat.host == this_host()):
        return held
    return is_fresh(folder, heartbeat, time.time())


def changing(heartbeats: Mapping[Path, Heartbeat], say: Callable[[str], None]) -> frozenset[Path]:
    """The folders, of those given with their heartbeats, in which the heartbeat changes while one waits."""
    hosts = ", ".join(sorted({heartbeat.host for heartbeat in heartbeats.values()}))
    say(
        f"the clock of this machine, of its disk, or of {hosts} is wrong; "
        f"looking for up to {PATIENCE:.0f} s which runs there go on"
    )
    changed: set[Path] = set()
    end = time.monotonic() + PATIENCE
    while heartbeats.keys() - changed and time.monotonic() < end:
        time.sleep(min(1.0, PATIENCE / 10))
        changed |= {folder for folder, heartbeat in heartbeats.items() if read_heartbeat(folder) != heartbeat}
    return frozenset(changed)
