"""What is recorded of a cell that ended early, and how that is taken back when it is asked for anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from bench.errors import CellFailed, UserError
from bench.journal.provenance import now, provenance
from bench.journal.record import RECORD, Failure, Record, write_record
from bench.running.task import CellTask


def reason_of(fault: BaseException) -> str:
    """What an exception says, as text that can be written anywhere, whatever a library made of its message."""
    try:
        said = str(fault)
    except Exception:
        said = "it cannot say why"
    known = isinstance(fault, CellFailed | UserError)
    text = said if known else f"{type(fault).__name__}: {said}" if said else type(fault).__name__
    return text.encode("utf-8", "backslashreplace").decode()


def failed_record(task: CellTask, record: Record | None, phase: str, reason: str) -> Record:
    """The record of a cell that ended early; `record` is what it had reached, and is kept if it was trained."""
    failure = Failure(phase=phase, reason=reason)
    if record is not None and record.weights_hash is not None:
        return record.model_copy(update={"status": "failed", "failure": failure})
    account = provenance(torch.device(task.device), now(), task.jobs)
    return Record(**identity_of(task), status="failed", failure=failure, provenance=account)


def take_back_failure(folder: Path, record: Record) -> Record | None:
    """What is left of a failed record where its cell is asked for anew: its reason must not stand for what happens now.

    None, and no file, where nothing was trained.
    """
    if record.weights_hash is None:
        (folder / RECORD).unlink()
        return None
    record = record.model_copy(update={"status": "trained", "failure": None})
    write_record(folder, record)
    return record


def identity_of(task: CellTask) -> dict[str, Any]:
    """The fields of a record that tell which run it is of."""
    return {
        "cell": task.cell,
        "label": task.label,
        "config": task.config,
        "numerics": task.numerics,
        "fingerprint": task.fingerprint,
        "standin": task.standin,
        "release": task.release,
        "preset": task.preset,
        "overrides": task.overrides,
    }
