"""Which jobs started a cell, on which nodes, and how that went: a small file beside its record.

By it the next start of a run asks for more memory than was too little, and keeps off nodes that could not run it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

from bench.config import Settings
from bench.journal.heartbeat import Moment, read_heartbeat
from bench.journal.reading import Unreadable, as_json, read_json
from bench.journal.record import Count, write_atomically

STARTS = "starts.json"
MOST_KEPT = 50
"""Starts of a cell that are remembered; older ones tell nothing of nodes any more."""

End = Literal["", "done", "failed", "left", "memory", "node", "died"]


class Start(Settings):
    """One start of a cell by a job, and how it went."""

    job: str
    """SLURM's id, such as 17_4; "" where it is not known."""
    node: str
    began: Moment
    memory_bytes: Count | None = None
    """What the job had asked for of the machine's memory; None where it had not, or that is not known."""
    ended: Moment | None = None
    """None while it goes on, and where nobody was left to say so."""
    how: End = ""
    """"left": told to leave, it saved; "memory": killed for taking more of the machine's memory than its job had;
    "node": it could not run for a reason that lies with the node, as far as its words tell; "died": without a word."""
    reason: str = ""
    worked: bool = False
    """Whether it got beyond its start: to its first step of sampling, training or testing."""


class _File(Settings):
    starts: list[Start] = []


def read_starts(folder: Path) -> list[Start]:
    """The starts of a cell, oldest first; none where the file cannot be read: it is remade by the next one."""
    try:
        found = read_json(folder / STARTS, _File, "")
    except Unreadable:
        return []
    return found.starts if found is not None else []


def add_start(folder: Path, start: Start) -> None:
    """Say that a cell was started. If nobody said how the start before it went, that one died."""
    starts = read_starts(folder)
    if starts and starts[-1].ended is None:
        end_start(folder, "died")
        starts = read_starts(folder)
    _write(folder, [*starts, start])


def end_start(folder: Path, how: End, reason: str = "") -> None:
    """Say how the last start of a cell went, which ends now."""
    starts = read_starts(folder)
    if not starts:
        return
    last, heartbeat = starts[-1], read_heartbeat(folder)
    worked = heartbeat is not None and heartbeat.updated >= last.began and heartbeat.place.phase != "starting"
    changes = {"how": how, "reason": reason, "ended": time.time(), "worked": worked}
    _write(folder, [*starts[:-1], last.model_copy(update=changes)])


def _write(folder: Path, starts: list[Start]) -> None:
    write_atomically(folder / STARTS, as_json(_File(starts=starts[-MOST_KEPT:])), durable=False)
