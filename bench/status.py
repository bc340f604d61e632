"""How far the cells of a study are, from what lies in the results folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.plan import Cell, answers, numerics_of, request_key
from bench.records import Record, finished_epochs, is_running, read_started


def state_of(cell: Cell, records: Sequence[Record], results: Path, tests: Sequence[str] = ()) -> str:
    """How far a cell is: "done", "failed", "missing", "running, 3 of 15 epochs", "interrupted, ...".

    `tests` are the test sets asked for: "done but for msmt" names those that a trained cell lacks.
    """
    found = [record for record in records if answers(record, cell)]
    done = [record for record in found if record.status == "done"]
    if done:
        lacking = min(([test for test in tests if record.result(test) is None] for record in done), key=len)
        return f"done but for {', '.join(lacking)}" if lacking else "done"
    for folder, started in read_started(results):
        same = request_key(started.config) == request_key(cell.config) and started.numerics == numerics_of(cell)
        if same and not (folder / "record.json").exists():
            epochs = f"{finished_epochs(folder)} of {started.config.training.epochs} epochs"
            return f"running, {epochs}" if is_running(folder) else f"interrupted, {epochs}"
    return "failed" if found else "missing"
