"""What `bench` knows of jobs that run its cells elsewhere, and what it asks of whoever runs them (see `slurm/`)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import model_validator

from bench.config import CellConfig, Settings
from bench.journal.heartbeat import Moment
from bench.journal.reading import as_json, read_json
from bench.journal.record import Count, write_atomically
from bench.running.identity import Process

if TYPE_CHECKING:
    from bench.running.targets import Target
    from bench.running.task import CellTask

JOB = "job.json"

RUNS = ("RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "RESIZING", "SIGNALING", "STOPPED", "STAGE_OUT")
WAITS = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD")
"""SLURM's states of jobs that are still to end."""

NODE_LINE = "started on "
"""How the first line begins that a job says: before all that may fail on its node."""

CLUSTERS = ("slurm", "local", "debug")


JobPlace = tuple[str, int | None]
"""A job's name and its place in the job array."""


class Asked(Settings):
    """What a job asks its cluster for. Seconds of wall-clock; None where the cluster's own default holds."""

    seconds: Count
    host_bytes: Count | None
    cpus: Count
    gpus: Count
    gpu_type: str | None
    partition: str | None
    constraint: str | None


class Job(Settings):
    """The job that was given a cell, written before it is submitted, so that no job can exist unknown."""

    cluster: Literal["slurm", "local"]
    name: str
    """The job's name in the queue, unique to its submission."""
    index: Count | None = None
    """Its place in the job array; None for a job alone."""
    folder: str
    """Where its output goes."""
    submitted: Moment
    process: Process | None = None
    """What runs a local submission."""
    cancelled: bool = False
    """Whether `bench cancel` ended it."""
    asked: Asked | None = None
    """None for jobs of this machine, and in older files."""

    @model_validator(mode="before")
    @classmethod
    def _forget_bare_number(cls, values: Any) -> Any:
        """Files of 0.1.0 name the process of a local submission by its number alone, which may be another's by now."""
        return {key: value for key, value in values.items() if key != "pid"} if isinstance(values, dict) else values

    @property
    def place(self) -> JobPlace:
        """What the job is in a queue."""
        return self.name, self.index

    @property
    def submission(self) -> str:
        """The name of the submission that it belongs to."""
        return self.name.rpartition("-")[0] if self.cluster == "slurm" else self.name


@dataclass(frozen=True)
class Entry:
    """A job as the queue shows it. `state` and `reason` are SLURM's words."""

    id: str
    state: str
    reason: str

    @property
    def active(self) -> bool:
        """Whether it waits or runs."""
        return self.state in RUNS + WAITS


Queue = Mapping[JobPlace, Entry]
"""Jobs by name and place in their array."""


@dataclass(frozen=True)
class Accounted:
    """What a cluster's accounts say of a job, all its starts together; None where they do not say."""

    seconds: float | None = None
    cpu_seconds: float | None = None
    host_bytes: int | None = None
    """The largest sample of the memory that the job's processes held; what two of them share counts twice."""
    gpu_bytes: int | None = None
    gpu_most_busy: float | None = None
    """The largest sample of the share in which the GPU computed."""
    asked_seconds: float | None = None
    asked_host_bytes: int | None = None
    cpus: int | None = None
    """That the job had."""


class Scheduler(Protocol):
    """Whoever runs jobs. All methods answer within seconds."""

    def queue(self) -> Queue:
        """Jobs that wait, run or ended lately. Raises UserError where nobody answers."""

    def ends(self, jobs: Sequence[Job]) -> Mapping[JobPlace, str]:
        """How jobs ended that the queue has forgotten, where the cluster keeps accounts; else nothing."""

    def accounts(self, jobs: Sequence[Job]) -> Mapping[JobPlace, Accounted]:
        """What jobs took, as far as accounts know them. Raises UserError where the cluster keeps none."""

    def drained(self) -> Mapping[str, str]:
        """Nodes that are out of use, and why, as far as the cluster says."""

    def cancel(self, jobs: Sequence[Job]) -> Mapping[JobPlace, str]:
        """End those that wait or run. Returns the ids of these; raises UserError with the scheduler's own words."""


class Called(Protocol):
    """A run, planned or about to be made, as far as resources are chosen by it."""

    @property
    def label(self) -> str:
        """Its row's."""

    @property
    def config(self) -> CellConfig:
        """With its head and what it is trained on."""


@dataclass(frozen=True)
class Names:
    """What the runs of a command are called by, and all that runs may be called by: resources may be given to some."""

    study: str
    studies: tuple[str, ...]
    heads: tuple[str, ...]
    train: tuple[str, ...]
    """Sets that are trained on, one by one."""
    rows: tuple[str, ...]


@dataclass(frozen=True)
class ClusterSettings:
    """How cells are handed over, as the command line says it."""

    name: str
    results: Path
    resources: Path | None = None
    """A file of resources."""
    overrides: tuple[str, ...] = ()
    """KEY=VALUE of resources."""
    max_parallel: int | None = None
    """Jobs that may run at a time, all arrays together."""
    jobs: int | None = None
    """Runs at a time on this machine."""
    devices: tuple[str, ...] = ()
    """Devices of this machine over which runs are spread."""
    names: Names | None = None
    """None where nothing is to be submitted."""


@dataclass(frozen=True)
class HandedOver:
    """What came of a submission: a sentence on what was done, and what there was no room for."""

    said: str
    left: tuple[CellTask, ...] = ()
    why: str = ""
    """The cluster's words where something is left."""


class Cluster(Scheduler, Protocol):
    """A place where cells can be run."""

    def target(self, run: Called) -> Target | None:
        """The machine that will run it; None is this one."""

    def scripts(self, tasks: Sequence[CellTask]) -> list[str]:
        """What would be submitted. Writes nothing."""

    def submit(self, tasks: Sequence[CellTask]) -> HandedOver:
        """Submit as many as the cluster takes, and return at once. Raises UserError with the cluster's words."""


def write_job(folder: Path, job: Job) -> None:
    """Say whose job a cell is."""
    write_atomically(folder / JOB, as_json(job), durable=False)


def read_job(folder: Path) -> Job | None:
    """The job of a cell's folder, None if it has none. Raises Unreadable for what is no job of this version."""
    return read_json(folder / JOB, Job, "delete it if no job of this run is queued or running")


def job_logs(job: Job) -> list[Path]:
    """The output of all that a job ran, oldest first, as far as it can be found."""
    place = "" if job.index is None else f"_{job.index}"
    found = []
    with contextlib.suppress(OSError, ValueError):  # the latter for names that no folder can have
        for path in Path(job.folder).glob(f"*{place}_0_log.*"):
            with contextlib.suppress(OSError):
                if (its := path.stat()).st_size:
                    found.append((its.st_mtime, path))
    return [path for _, path in sorted(found)]


def last_line(path: Path) -> str:
    """The last line of a file that says anything, or ""."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 4096))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def last_node(job: Job) -> str:
    """The node on which a job was started last, by its own word; "" where it was on none."""
    for path in reversed(job_logs(job)):
        if path.suffix != ".out":
            continue
        with contextlib.suppress(OSError):
            for line in reversed(path.read_text(encoding="utf-8", errors="replace").splitlines()):
                if line.startswith(NODE_LINE):
                    return line.removeprefix(NODE_LINE).strip()
    return ""
