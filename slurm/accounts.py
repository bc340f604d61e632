"""What SLURM's accounts say that jobs took."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from bench.errors import UserError
from bench.running.jobs import Accounted, Job, JobPlace
from slurm.asking import ask

COLUMNS = ("JobName", "JobID", "ElapsedRaw", "TotalCPU", "MaxRSS", "Timelimit", "ReqMem", "AllocCPUS", "TRESUsageInMax")
PATIENCE = 30.0
"""Seconds that accounts of many jobs may take to be read."""
NAMES_AT_ONCE = 100

_MEMORY = re.compile(r"(\d+(?:\.\d*)?)([KMGTP]?)B?")
_POWERS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50}

Number = TypeVar("Number", int, float)


def accounts(jobs: Sequence[Job]) -> Mapping[JobPlace, Accounted]:
    """What jobs took, all their starts together. Raises UserError with sacct's words where there are no accounts."""
    if shutil.which("sacct") is None:
        raise UserError("there is no sacct on this machine")
    names = sorted({job.name for job in jobs})
    lines: list[str] = []
    for start in range(0, len(names), NAMES_AT_ONCE):
        lines += _lines(names[start : start + NAMES_AT_ONCE], min(job.submitted for job in jobs))
    found: dict[str, _Sums] = {}
    for line in lines:
        values = line.split("|")
        if len(values) == len(COLUMNS):
            row = dict(zip(COLUMNS, values, strict=True))
            identity, _, step = row["JobID"].partition(".")
            found.setdefault(identity, _Sums()).add(row, step)
    return {(sums.name, _index(identity)): sums.accounted for identity, sums in found.items() if sums.name}


def _lines(names: Sequence[str], submitted: float) -> list[str]:
    since = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(submitted - 60))
    # Of a job that was requeued, --duplicates tells each start.
    options = ("--noheader", "--parsable2", "--duplicates", f"--starttime={since}")
    told = ask(
        "sacct", *options, f"--name={','.join(names)}", f"--format={','.join(COLUMNS)}", patience=PATIENCE, insist=0.0
    )
    return told.splitlines()


@dataclass
class _Sums:
    """Of the lines of one job: one for each of its starts, then those of its steps."""

    name: str = ""
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    host_bytes: list[int] = field(default_factory=list)
    gpu_bytes: list[int] = field(default_factory=list)
    gpu_busy: list[float] = field(default_factory=list)
    asked: tuple[float | None, int | None, int | None] = (None, None, None)

    def add(self, row: Mapping[str, str], step: str) -> None:
        """Take in a line: of the job itself, or of one of its steps, which alone know its memory."""
        if not step:
            self.name = row["JobName"]
            _keep(self.seconds, row["ElapsedRaw"], float)
            _keep(self.cpu_seconds, row["TotalCPU"], _seconds)
            cpus = int(row["AllocCPUS"]) if row["AllocCPUS"].isdecimal() else None
            self.asked = _or_none(row["Timelimit"], _seconds), _asked_bytes(row["ReqMem"], cpus), cpus
            return
        _keep(self.host_bytes, row["MaxRSS"], _bytes)
        used = dict(item.partition("=")[::2] for item in row["TRESUsageInMax"].split(","))
        _keep(self.gpu_bytes, used.get("gres/gpumem", ""), _bytes)
        _keep(self.gpu_busy, used.get("gres/gpuutil", ""), lambda text: min(1.0, float(text) / 100))

    @property
    def accounted(self) -> Accounted:
        seconds, memory, cpus = self.asked
        return Accounted(
            seconds=sum(self.seconds) or None,
            cpu_seconds=sum(self.cpu_seconds) or None,
            host_bytes=max(self.host_bytes, default=0) or None,
            gpu_bytes=max(self.gpu_bytes, default=0) or None,
            gpu_most_busy=max(self.gpu_busy, default=None),
            asked_seconds=seconds,
            asked_host_bytes=memory,
            cpus=cpus,
        )


def _keep(kept: list[Number], text: str, read: Callable[[str], Number]) -> None:
    """Add what a text says, unless it says nothing that can be read."""
    value = _or_none(text, read)
    if value is not None:
        kept.append(value)


def _or_none(text: str, read: Callable[[str], Number]) -> Number | None:
    try:
        return read(text.strip())
    except ValueError:
        return None


def _asked_bytes(text: str, cpus: int | None) -> int | None:
    """ReqMem: before SLURM 21.08 it ends in n for a node or c for each CPU."""
    memory = _or_none(text.removesuffix("n").removesuffix("c"), _bytes)
    return memory * (cpus or 1) if memory and text.endswith("c") else memory


def _seconds(text: str) -> float:
    """A duration, such as 1-02:03:04 or 05:06.789. Raises ValueError for anything else, as UNLIMITED."""
    days, _, clock = text.rpartition("-")
    parts = clock.split(":")
    if len(parts) not in (2, 3):
        raise ValueError(text)
    hours, minutes, seconds = ["0", *parts][-3:]
    return ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * 60 + float(seconds)


def _bytes(text: str) -> int:
    """An amount, such as 1.5G, 1536K or 0. Raises ValueError for anything else."""
    found = _MEMORY.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return int(float(found[1]) * 2 ** _POWERS[found[2]])


def _index(identity: str) -> int | None:
    place = identity.partition("_")[2]
    return int(place) if place.isdecimal() else None
