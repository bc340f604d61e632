"""How a cell's process ended: the one judgement of it, by what lies on disk and not by an exit code alone."""

from __future__ import annotations

from dataclasses import dataclass

from bench.journal.reading import Unreadable
from bench.journal.record import Record, read_record, write_record
from bench.running.cell import BUSY, DONE, FAILED, INTERRUPTED
from bench.running.failures import failed_record, reason_of
from bench.running.task import NOTHING_TO_TEST, CellTask
from bench.system.processes import how_it_ended


@dataclass(frozen=True)
class Outcome:
    """How a cell ended. `reason` is "" unless it failed, was interrupted or was busy."""

    task: CellTask
    record: Record | None
    reason: str = ""
    skipped: bool = False

    @property
    def failed(self) -> bool:
        """Whether the cell was run here and did not reach its results."""
        return bool(self.reason) and not self.skipped


def outcome_before(task: CellTask) -> Outcome | None:
    """The outcome of a task that is not to be run, else None.

    It is finished, or its record cannot be read, or it is to be tested again and has not been trained.
    """
    try:
        record = read_record(task.folder)
    except Unreadable as fault:
        return Outcome(task, None, reason_of(fault))
    if task.has_nothing_to_test(record):
        return Outcome(task, None, NOTHING_TO_TEST, skipped=True)
    return Outcome(task, record, skipped=True) if task.is_finished(record) else None


def outcome_after(task: CellTask, exit_code: int) -> Outcome:
    """The outcome of a task whose process has ended. One that left neither its results nor a reason has failed.

    That failure is recorded, unless the record is there and cannot be read: it may be worth more.
    """
    if exit_code == BUSY:
        return Outcome(task, None, "another process is running it", skipped=True)
    try:
        record = read_record(task.folder)
    except Unreadable as fault:
        return Outcome(task, None, reason_of(fault))
    if task.is_finished(record):
        return Outcome(task, record)
    if exit_code == INTERRUPTED:
        return Outcome(task, record, "interrupted; the same command goes on where it was")
    if task.lists and task.has_results(record):
        # What has its results is as good as before, whatever befell their lists.
        told = [f"{one.test}: {one.lists_refused}" for one in task.without_lists(record) if one.lists_refused]
        silent = f"its process {how_it_ended(exit_code)} without a word"
        return Outcome(task, record, "; ".join(told) if told and exit_code in (DONE, FAILED) else silent)
    if exit_code == FAILED and record is not None and record.failure is not None:
        return Outcome(task, record, f"{record.failure.phase}: {record.failure.reason}")
    how = "could not record why it failed" if exit_code == FAILED else f"{how_it_ended(exit_code)} without a word"
    reason = f"its process {how}"
    failed = failed_record(task, record, "unknown", reason)
    try:
        write_record(task.folder, failed)
    except OSError as fault:
        reason += f"; not recorded: {reason_of(fault)}"
    return Outcome(task, failed, f"unknown: {reason}")
