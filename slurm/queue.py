"""What SLURM's own commands say. Every call has a time limit, so that nothing hangs where a daemon does not answer."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bench.errors import UserError
from bench.running.jobs import Entry, Job

PATIENCE = 5.0
"""Seconds that a question may take."""
DEFAULT_ARRAY_SIZE = 1001
"""SLURM's own default of MaxArraySize."""


@dataclass(frozen=True)
class JobInfo:
    """A job as scontrol shows it. Times are seconds since 1970, None where SLURM says none."""

    state: str
    restarts: int
    limit: float | None
    """When its time is up. SLURM's own EndTime is moved to the moment at which anything else ends the job."""
    preempt_time: float | None


def ask(*command: str, patience: float = PATIENCE) -> str:
    """The output of one of SLURM's commands. Raises UserError with SLURM's own words."""
    if shutil.which(command[0]) is None:
        raise UserError(
            f"there is no {command[0]} on this machine: run this where SLURM's commands are, "
            "or use --cluster local or no --cluster at all"
        )
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience, check=False)
    except subprocess.TimeoutExpired as fault:
        raise UserError(f"{command[0]} has not answered for {patience:.0f} s: is SLURM's controller up?") from fault
    if done.returncode:
        raise UserError(f"{command[0]}: {_words(done.stderr or done.stdout)}")
    return done.stdout


def queue() -> dict[tuple[str, int | None], Entry]:
    """This user's jobs, by name and place in their array: those that wait, run or ended lately."""
    lines = ask("squeue", f"--user={os.getuid()}", "--states=all", "--array", "--noheader", "--format=%j|%K|%i|%T|%r")
    found = {}
    for line in lines.splitlines():
        name, index, identity, state, reason = (part.strip() for part in line.split("|", 4))
        found[name, int(index) if index.isdecimal() else None] = Entry(identity, state, reason)
    return found


def ends(jobs: Sequence[Job]) -> dict[tuple[str, int | None], str]:
    """How jobs ended, from SLURM's accounts; nothing where it keeps none."""
    if not jobs or shutil.which("sacct") is None:
        return {}
    since = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(min(job.submitted for job in jobs) - 60))
    names = ",".join(sorted({job.name for job in jobs}))
    columns = "--format=JobName,JobID,State"
    try:
        lines = ask("sacct", "-X", "--noheader", "--parsable2", f"--starttime={since}", f"--name={names}", columns)
    except UserError:
        return {}
    found = {}
    for line in lines.splitlines():
        name, identity, state = line.split("|")[:3]
        index = identity.partition("_")[2]
        found[name, int(index) if index.isdecimal() else None] = state
    return found


def show_job(identity: str) -> JobInfo:
    """One job. Raises UserError where SLURM does not know it or does not answer."""
    fields = {}
    for word in ask("scontrol", "--oneliner", "show", "job", identity).split():
        key, _, value = word.partition("=")
        fields.setdefault(key, value)
    return JobInfo(
        fields.get("JobState", ""),
        int(fields.get("Restarts", 0)),
        _limit(fields.get("StartTime", ""), fields.get("TimeLimit", "")),
        _moment(fields.get("PreemptTime", "")),
    )


def requeue(identity: str) -> None:
    """Put a job back into the queue, under the same id. Raises UserError with SLURM's own words."""
    ask("scontrol", "requeue", identity, patience=30.0)


def cancel(identities: Sequence[str]) -> None:
    """End jobs."""
    for start in range(0, len(identities), 500):
        ask("scancel", *identities[start : start + 500], patience=30.0)


def max_array_size() -> int:
    """How many jobs an array may have."""
    for line in ask("scontrol", "show", "config").splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "MaxArraySize" and value.strip().isdecimal():
            return max(1, int(value))
    return DEFAULT_ARRAY_SIZE


def _moment(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _limit(start: str, duration: str) -> float | None:
    begin = _moment(start)
    days, _, clock = duration.rpartition("-")
    parts = clock.split(":")
    if begin is None or len(parts) != 3 or not all(part.isdecimal() for part in (*parts, days or "0")):
        return None
    hours, minutes, seconds = map(int, parts)
    return begin + ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def _words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(lines[:3]) or "failed without a word"
