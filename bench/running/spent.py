"""What runs took of their machines, beside what their jobs asked for: from their own accounts, then the cluster's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.journal.heartbeat import read_heartbeat
from bench.journal.reading import Unreadable
from bench.journal.record import Record, read_record
from bench.journal.starts import read_starts
from bench.journal.usage import Usage
from bench.running.jobs import Accounted, Job, JobPlace
from bench.running.ledger import CellState

UNKNOWN = Accounted()


@dataclass(frozen=True)
class Spent:
    """What one run took, and, as `asked_`, what its job asked for; None for what nobody knows or asked for."""

    done: bool
    seconds: float
    lower_bound: bool = False
    """Whether `seconds` are those of its timed phases alone, as runs of earlier versions have them."""
    cpu_seconds: float | None = None
    host_bytes: int | None = None
    by_samples: bool = False
    """Whether `host_bytes` are the cluster's samples, which may count twice what a job's processes share."""
    gpu_bytes: int | None = None
    gpu_total_bytes: int | None = None
    gpu_busy: float | None = None
    """The mean share in which the GPU computed; `gpu_most_busy` the largest sample, where there is no mean."""
    gpu_most_busy: float | None = None
    cpus: int | None = None
    """That it had."""
    asked_seconds: float | None = None
    asked_host_bytes: int | None = None


def spent_by(
    states: Iterable[CellState], accounts: Mapping[JobPlace, Accounted], faults: dict[Path, Unreadable]
) -> list[Spent]:
    """What runs took that said anything of it, each folder once. What cannot be read is added to `faults`."""
    found = []
    for state in {state.folder: state for state in states if state.folder is not None}.values():
        own, record = None, None
        try:
            own, record = _own(state.folder)
        except Unreadable as fault:
            faults[fault.path] = fault
        account = accounts.get(state.job.place, UNKNOWN) if state.job is not None else UNKNOWN
        old = _of_older_version(record) if own is None and record is not None else UNKNOWN
        # A job takes longer than its run: its setup, and the start of Python.
        seconds = _most(own.seconds if own is not None else old.seconds, account.seconds)
        if seconds is not None:
            found.append(_spent(state, seconds, own, old, account))
    return found


def slurm_jobs(states: Iterable[CellState]) -> list[Job]:
    """The jobs of cells that were given to SLURM, each once."""
    jobs = {state.job.place: state.job for state in states if state.job is not None and state.job.cluster == "slurm"}
    return list(jobs.values())


def _own(folder: Path) -> tuple[Usage | None, Record | None]:
    """What a run says that it took; its record where it is of a version that did not measure that."""
    heartbeat = read_heartbeat(folder)
    if heartbeat is not None and heartbeat.usage is not None:
        return heartbeat.usage, None
    record = read_record(folder)
    return (None, None) if record is None else (record.usage, record)


def _spent(state: CellState, seconds: float, own: Usage | None, old: Accounted, account: Accounted) -> Spent:
    asked = state.job.asked if state.job is not None else None
    # Each start of a run that was killed for memory asks for more than the one before; it had held all that it had.
    starts = read_starts(state.folder)
    granted = [start.memory_bytes for start in starts[-1:]]
    too_little = [start.memory_bytes for start in starts if start.how == "memory"]
    asked_bytes = asked.host_bytes if asked is not None else account.asked_host_bytes
    held = _most(own.host_bytes if own is not None else old.host_bytes, *too_little)
    return Spent(
        done=state.kind == "done",
        seconds=seconds,
        lower_bound=own is None and account.seconds is None,
        cpu_seconds=own.cpu_seconds if own is not None else account.cpu_seconds,
        host_bytes=_most(held, account.host_bytes),
        by_samples=(account.host_bytes or 0) > (held or 0),
        gpu_bytes=_most(own.gpu_bytes if own is not None else old.gpu_bytes, account.gpu_bytes),
        gpu_total_bytes=own.gpu_total_bytes if own is not None else None,
        gpu_busy=own.gpu_busy if own is not None else None,
        gpu_most_busy=account.gpu_most_busy,
        cpus=asked.cpus if asked is not None else account.cpus or (own.cpus if own is not None else None),
        asked_seconds=asked.seconds if asked is not None else account.asked_seconds,
        asked_host_bytes=_most(asked_bytes, *granted),
    )


def _of_older_version(record: Record) -> Accounted:
    """What a record without `usage` tells of it."""
    seconds = sum(record.seconds.values()) + sum(sum(result.seconds.values()) for result in record.tests)
    peak = max([record.peak_bytes or 0, *(result.peak_bytes for result in record.tests)]) or None
    on_cpu = record.provenance.device.startswith("CPU")
    return Accounted(seconds=seconds or None, host_bytes=peak if on_cpu else None, gpu_bytes=None if on_cpu else peak)


def _most(*values: float | int | None) -> float | int | None:
    return max((value for value in values if value is not None), default=None)
