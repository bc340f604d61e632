"""Running cells on this machine, each in a process of its own.

A process per cell keeps memory figures apart and lets one cell die without the others.
"""

from __future__ import annotations

import dataclasses
import multiprocessing.connection
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from bench.environment import cpus
from bench.journal.reading import Unreadable
from bench.journal.record import Record, read_record, write_record
from bench.running.apart import forkserver
from bench.running.cell import BUSY, INTERRUPTED, CellTask, failed_record, is_finished, run_cell

MOST_JOBS = 4
"""Runs at a time that are started unasked: so many small ones stay within the memory of a laptop."""


@dataclass(frozen=True)
class Outcome:
    """How a cell ended. `reason` is "" unless it failed or was busy."""

    task: CellTask
    record: Record | None
    reason: str = ""
    skipped: bool = False

    @property
    def failed(self) -> bool:
        """Whether the cell was run here and did not reach its results."""
        return bool(self.reason) and not self.skipped


def default_jobs(tasks: Sequence[CellTask], devices: Sequence[str]) -> int:
    """Runs at a time: one on each GPU; on CPUs as many as fit with the threads that they are set to, up to 4."""
    if torch.device(devices[0]).type != "cpu":
        return len(devices)
    return max(1, min(MOST_JOBS, cpus() // max(task.threads for task in tasks)))


def run_all(
    tasks: Sequence[CellTask], jobs: int, report: Callable[[Outcome], None], devices: Sequence[str] = ()
) -> list[Outcome]:
    """Run every task that lacks results, `jobs` at a time; `report` is told each outcome as it comes.

    With several `devices` the runs are spread over them: run number n at a time has device n, or n modulo their number.
    Returns the outcomes in the order of the tasks.
    """
    context = forkserver()
    # Rows that come to the same configuration are one run.
    waiting = list({task.cell: dataclasses.replace(task, jobs=jobs) for task in tasks}.values())
    running: dict[int, tuple[CellTask, multiprocessing.process.BaseProcess]] = {}
    outcomes: dict[str, Outcome] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                task = waiting.pop(0)
                settled = _settled(task)
                if settled is not None:
                    outcomes[task.cell] = settled
                    report(settled)
                    continue
                slot = next(number for number in range(jobs) if number not in running)
                if devices:
                    task = dataclasses.replace(task, device=devices[slot % len(devices)])
                process = context.Process(target=_entry, args=(task, slot), name=task.cell)
                process.start()
                running[slot] = (task, process)
            if not running:
                continue  # all that was left is finished
            ended = multiprocessing.connection.wait([process.sentinel for _, process in running.values()])
            for slot, (task, process) in list(running.items()):
                if process.sentinel in ended:
                    process.join()
                    del running[slot]
                    outcomes[task.cell] = _outcome(task, process.exitcode)
                    report(outcomes[task.cell])
    except BaseException:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join()
        raise
    return [outcomes[cell] for cell in dict.fromkeys(task.cell for task in tasks)]


def _settled(task: CellTask) -> Outcome | None:
    """The outcome of a task that is not to be run: it is finished, or nobody can tell."""
    try:
        record = read_record(task.folder)
    except Unreadable as fault:
        return Outcome(task, None, str(fault))
    return Outcome(task, record, skipped=True) if is_finished(task, record) else None


def _outcome(task: CellTask, exit_code: int | None) -> Outcome:
    """How a process ended. A record that cannot be read is left as it is."""
    try:
        return _told(task, exit_code)
    except Unreadable as fault:
        return Outcome(task, None, str(fault))


def _told(task: CellTask, exit_code: int | None) -> Outcome:
    if exit_code == BUSY:
        return Outcome(task, None, "another process is running it", skipped=True)
    if exit_code == INTERRUPTED:
        return Outcome(task, None, "interrupted; the same command goes on where it was")
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        reached = read_record(task.folder)
        reached = reached if reached is not None and reached.weights_hash is not None else None
        write_record(task.folder, failed_record(task, reached, "unknown", f"the process was ended by {name}{hint}"))
    record = read_record(task.folder)
    if record is None:
        return Outcome(task, None, f"the process ended with code {exit_code} and left no record")
    if record.failure is not None:
        return Outcome(task, record, f"{record.failure.phase}: {record.failure.reason}")
    return Outcome(task, record)


def _entry(task: CellTask, slot: int) -> None:
    # Until the run listens itself, while libraries are imported, Ctrl-C ends it as any other signal does.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    progress = dataclasses.replace(task.progress, line=slot, label=task.label)
    # Runs side by side draw their progress bars on lines of their own.
    raise SystemExit(run_cell(dataclasses.replace(task, progress=progress)))
