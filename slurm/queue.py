"""What SLURM's own commands say of jobs."""

from __future__ import annotations

import os
import pwd
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bench.errors import UserError
from bench.running.jobs import Entry, Job, JobPlace
from slurm.asking import ask

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
    excluded: str = ""
    """The nodes that it is kept off, as SLURM lists them."""


def queue() -> dict[JobPlace, Entry]:
    """This user's jobs, by name and place in their array: those that wait, run or ended lately.

    A user whom this machine does not know, as in a container, is told everybody's.
    """
    # The name comes last, since other jobs of the user may be called anything.
    told = ask("squeue", *_user(), "--states=all", "--array", "--noheader", "--format=%K|%i|%T|%r|%j")
    found = {}
    for line in told.splitlines():
        parts = [part.strip() for part in line.split("|", 4)]
        if len(parts) == 5:
            index, identity, state, reason, name = parts
            found[name, _index(index)] = Entry(identity, state, reason)
    return found


def ends(jobs: Sequence[Job]) -> dict[JobPlace, str]:
    """How jobs ended, from SLURM's accounts; nothing where it keeps none."""
    if not jobs or shutil.which("sacct") is None:
        return {}
    since = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(min(job.submitted for job in jobs) - 60))
    ids_of = {job.name: _ids(job) for job in jobs}
    numbered = sorted(name for name, ids in ids_of.items() if ids)
    unnumbered = sorted(name for name, ids in ids_of.items() if not ids)
    numbers = sorted({identity for ids in ids_of.values() for identity in ids})
    found = {}
    # By a time alone sacct leaves out what was cancelled before it could have begun; by its number it is told.
    if numbered:
        found |= _accounts(f"--starttime={since}", f"--name={','.join(numbered)}", f"--jobs={','.join(numbers)}")
    if unnumbered:
        found |= _accounts(f"--starttime={since}", f"--name={','.join(unnumbered)}")
    # An array that was cancelled as soon as it was there is told as one job.
    ended = {job.place: found.get(job.place) or found.get((job.name, None)) for job in jobs}
    return {place: state for place, state in ended.items() if state is not None}


def _accounts(*which: str) -> dict[JobPlace, str]:
    try:
        lines = ask("sacct", "-X", "--noheader", "--parsable2", *which, "--format=JobName,JobID,State")
    except UserError:
        return {}
    found = {}
    for line in lines.splitlines():
        parts = line.split("|")
        if len(parts) == 3:
            name, identity, state = parts
            found |= {(name, index): state for index in _indices(identity.partition("_")[2])}
    return found


def _ids(job: Job) -> list[str]:
    """SLURM's number of a job or of its array, by the script that was submitted; none where the answer was lost."""
    try:
        scripts = [path.name.partition("_")[0] for path in Path(job.folder).glob("*_submission.sh")]
    except (OSError, ValueError):  # the latter for names that no folder can have
        return []
    return [identity for identity in scripts if identity.isdecimal()]


def show_job(identity: str) -> JobInfo:
    """One job. Raises UserError where SLURM does not know it or does not answer at once: jobs that ask have no time."""
    fields = {}
    for word in ask("scontrol", "--oneliner", "show", "job", identity, insist=0.0).split():
        key, _, value = word.partition("=")
        fields.setdefault(key, value)
    return JobInfo(
        fields.get("JobState", ""),
        _index(fields.get("Restarts", "")) or 0,
        _limit(fields.get("StartTime", ""), fields.get("TimeLimit", "")),
        _moment(fields.get("PreemptTime", "")),
        fields.get("ExcNodeList", "").replace("(null)", ""),
    )


def requeue(identity: str) -> None:
    """Put a job back into the queue, under the same id. Raises UserError with SLURM's own words."""
    ask("scontrol", "requeue", identity, patience=30.0)


def nodes(partition: str | None) -> dict[str, int]:
    """The nodes of a partition, or of the cluster, and the memory of each in MiB. Raises UserError if nobody tells."""
    of = [f"--partition={partition}"] if partition else []
    told = ask("sinfo", "--noheader", "--Node", "--format=%N|%m", *of, insist=0.0)
    found = {}
    for line in told.splitlines():
        name, _, memory = line.strip().partition("|")
        found[name] = _index(memory.rstrip("+")) or 0
    return found


def drained() -> dict[str, str]:
    """The nodes that SLURM has taken out of use, and why; nothing where it does not say."""
    try:
        told = ask("sinfo", "--noheader", "--Node", "--states=drain,down,fail", "--format=%N|%E", insist=0.0)
    except UserError:
        return {}
    return {name.strip(): why.strip() for name, _, why in (line.partition("|") for line in told.splitlines())}


def change(identity: str, **fields: str) -> None:
    """Have a job that waits ask for something else, by scontrol's words. Raises UserError with SLURM's own words."""
    ask("scontrol", "update", f"JobId={identity}", *(f"{name}={value}" for name, value in fields.items()))


def end(identity: str) -> None:
    """End one job. Raises UserError with SLURM's own words."""
    ask("scancel", identity, patience=30.0)


def cancel(jobs: Sequence[Job]) -> dict[JobPlace, str]:
    """End those that wait or run; returns the ids of these. Raises UserError with SLURM's own words."""
    entries = queue()
    active = {job.place: entries[job.place].id for job in jobs if job.place in entries and entries[job.place].active}
    identities = sorted(active.values())
    for start in range(0, len(identities), 500):
        ask("scancel", *identities[start : start + 500], patience=30.0)
    return active


def _user() -> list[str]:
    """The option that asks for this user's jobs; none where the user has a number only, which squeue refuses."""
    try:
        return [f"--user={pwd.getpwuid(os.getuid()).pw_name}"]
    except KeyError:
        return []


def _index(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _indices(text: str) -> list[int | None]:
    """The places in an array that SLURM means by 3, or by [0-5,7%2] where jobs never began; [None] for none."""
    found: list[int | None] = []
    for part in text.strip("[]").partition("%")[0].split(","):
        first, _, last = part.partition("-")
        begin, end = _index(first), _index(last or first)
        found += [None] if begin is None or end is None else range(begin, end + 1)
    return found


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
