"""What a run last said of itself: a small file beside its record, which `bench status` reads first.

Whether a process on another machine lives is told by when its file was written, and there are three clocks: the
writer's, which the heartbeat states, the file system's, which dates the file, and the reader's. If both dates are near
the present, the process lives; if both are long past, it died. Anything else (a date in the future, or one that is near
and one that is not) says only that clocks disagree or that the folder was copied; then a heartbeat is a sign of life if
it changes.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from bench.config import Settings
from bench.journal.reading import Unreadable, as_json, read_json
from bench.journal.record import RECORD, Count, Seconds, write_atomically
from bench.journal.usage import Usage

HEARTBEAT = "heartbeat.json"
BEAT_SECONDS = 10.0
"""How often a running process writes."""
STALE_SECONDS = 90.0
"""Silence after which a process on another machine counts as dead."""

State = Literal["running", "interrupted", "preempted", "timed out", "requeued", "cancelled", "done", "failed"]
"""How a run is; "requeued": its job went back into the queue to ask for more memory, or for another node."""

Moment = Annotated[float, Field(ge=0, lt=2**36)]
"""Seconds since 1970."""


class Place(Settings):
    """Where a run is. `done` of `total` counts steps of all epochs in training, scored pairs elsewhere."""

    phase: Literal["starting", "sampling", "training", "testing"] = "starting"
    what: str = ""
    """The test set, and the network's state if it is not the trained one."""
    epoch: Count = 0
    """From 1 on; 0 outside of training."""
    epochs: Count = 0
    done: Count = 0
    total: Count = 0

    def __str__(self) -> str:
        share = f", {100 * self.done // self.total} %" if self.total else ""
        if self.phase in ("sampling", "training"):
            return f"epoch {self.epoch} of {self.epochs}{share if self.phase == 'training' else ''}"
        return f"testing on {self.what}{share}" if self.phase == "testing" else self.phase


class Heartbeat(Settings):
    """A run's last word. Durations are seconds."""

    state: State
    updated: Moment
    """By the clock of `host`."""
    host: str
    pid: int
    job: str | None = None
    """SLURM's id of the job, such as 17_4."""
    place: Place = Place()
    seconds_left: Seconds | None = None
    """Of the phase that `place` names; None where nothing is known yet."""
    reason: str = ""
    saved: str = ""
    """Names what was saved last; as long as it stays the same there is no progress."""
    deaths: Count = 0
    """How many times in a row a process died, or ran out of time, without having saved anything new."""
    tests: list[str] = []
    """Test sets with a result of the trained network."""
    record_stamp: list[int] | None = None
    """Size and time of the record.json that this tells of; another one has to be read itself."""
    usage: Usage | None = None
    """What the run has taken of its machine so far; None in older heartbeats."""


def write_heartbeat(folder: Path, heartbeat: Heartbeat) -> None:
    """Replace the heartbeat in one step."""
    write_atomically(folder / HEARTBEAT, as_json(heartbeat), durable=False)


def read_heartbeat(folder: Path) -> Heartbeat | None:
    """The last heartbeat; None if there is none, or none that can be read: the next one replaces it."""
    try:
        return read_json(folder / HEARTBEAT, Heartbeat, "")
    except Unreadable:
        return None


def is_fresh(folder: Path, heartbeat: Heartbeat, now: float) -> bool | None:
    """Whether a heartbeat was written lately, None where the clocks disagree. `now` is in seconds since 1970."""
    try:
        dated = (folder / HEARTBEAT).stat().st_mtime
    except OSError:
        return False
    ages = (now - heartbeat.updated, now - dated)
    if all(abs(age) < STALE_SECONDS for age in ages):
        return True
    return False if all(age >= STALE_SECONDS for age in ages) else None


def restate(folder: Path, state: State, reason: str) -> None:
    """Correct how a run says that it ended, by what the queue knows of it."""
    heartbeat = read_heartbeat(folder)
    if heartbeat is not None:
        write_heartbeat(folder, heartbeat.model_copy(update={"state": state, "reason": reason}))


def record_stamp(folder: Path) -> list[int] | None:
    """What tells one record.json from another without reading it; None if there is none, [] if it cannot be told."""
    try:
        found = (folder / RECORD).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]


def present_job() -> str | None:
    """The id of the SLURM job that this process belongs to, or None."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ.get("SLURM_JOB_ID")


def this_host() -> str:
    """The machine's name, as heartbeats tell it."""
    return platform.node()
