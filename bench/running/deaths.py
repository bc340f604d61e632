"""What can be said of a run that ended without saying why itself, and where to read more."""

from __future__ import annotations

import os
import time
from pathlib import Path

from bench.journal.heartbeat import Heartbeat
from bench.journal.starts import End, Start, add_start, end_start, read_starts
from bench.running.jobs import Job, job_logs, last_line, last_node
from bench.running.nodes import lies_with_node

OUT_OF_MEMORY = "OUT_OF_MEMORY"
"""SLURM's word for a job that was killed for memory."""

_ENDS: dict[str, End] = {OUT_OF_MEMORY: "memory", "NODE_FAIL": "node", "BOOT_FAIL": "node"}
"""SLURM's words for how a job ended that tell what was in its way."""


def death_of(heartbeat: Heartbeat | None, job: Job, how: str) -> str:
    """A sentence on a job that ended without a word. `how` is SLURM's, "" where it does not know the job any more;
    `heartbeat` is what the run said since it was submitted."""
    ended = f"SLURM: {how.lower().replace('_', ' ')}" if how else "SLURM does not know it any more"
    if heartbeat is not None:
        ago = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(heartbeat.updated))
        died = f"its job died without a word ({ended})"
        if how == OUT_OF_MEMORY:
            died = (
                f"its job was killed for taking more of the machine's memory than it had ({ended}), and `bench run` "
                "asks for half as much again"
            )
        return f"{died}; last heard of at {ago} on {heartbeat.host}: {heartbeat.place}"
    if not job_logs(job):
        return (
            f"its job ended without a word ({ended}) and left no log in {job.folder}: "
            "is the results folder shared with the nodes?"
        )
    return f"its job ended before the run began ({ended})"


def log_of(folder: Path, job: Job | None) -> Path | None:
    """Where to read why a cell failed."""
    own = folder / "error.log"
    if os.access(own, os.R_OK):
        return own
    logs = job_logs(job) if job is not None else []
    return max(logs, key=lambda path: (bool(last_line(path)), path.suffix == ".err"), default=None)


def note_death(folder: Path, job: Job, ended: str) -> None:
    """Write down, for a run's next start, how its last one went where it could not do so itself.

    `ended` is SLURM's word for how its job did. A job that ended before the run began said on which node it was.
    """
    how, reason = _ENDS.get(ended, "died"), f"SLURM: {ended.lower().replace('_', ' ')}"
    starts = read_starts(folder)
    if starts and starts[-1].ended is None:
        end_start(folder, how, reason)
    elif not (starts and starts[-1].began >= job.submitted) and (node := last_node(job)):
        words = [line for path in job_logs(job) if path.suffix == ".err" and (line := last_line(path))]
        if words and lies_with_node(words[-1]):
            how, reason = "node", words[-1]
        add_start(folder, Start(job="", node=node, began=time.time()))
        end_start(folder, how, reason)
