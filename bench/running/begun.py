"""Runs that are there already: a planned cell goes on as it was begun, whatever `auto` would mean on this machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.config import CellConfig
from bench.errors import UserError
from bench.journal.reading import Unreadable
from bench.journal.record import CHECKPOINT, read_record
from bench.progress import Progress
from bench.running.jobs import Scheduler
from bench.running.ledger import Ledger
from bench.study.plan import Cell, cell_id


def as_begun(
    cells: Sequence[Cell],
    resolved: Sequence[CellConfig],
    fingerprints: Mapping[str, str],
    results: Path,
    progress: Progress,
) -> list[CellConfig]:
    """The configurations under which cells are run: those of the runs that answer them on the same data, or `resolved`.

    `resolved` is what the cells mean on this machine, `fingerprints` are those of the training sets by name. Of several
    runs a finished one counts, then the one that this machine would begin. A line tells of runs that this machine would
    begin otherwise.
    """
    book = Ledger(results, _nobody)
    configs, told = [], Counter()
    for cell, here in zip(cells, resolved, strict=True):
        fingerprint = fingerprints[here.train]
        own = cell_id(here, cell.numerics, fingerprint)
        runs = [
            (path, config)
            for path, config in book.runs_of(cell)
            if path.name == cell_id(config, cell.numerics, fingerprint)
        ]
        if len(runs) > 1:
            runs.sort(key=lambda run: _standing(run[0], own), reverse=True)
        config = runs[0][1] if runs else here
        configs.append(config)
        if config != here:
            told[_difference(config, here)] += 1
    for difference, count in told.items():
        runs = "1 run stays as it was" if count == 1 else f"{count} runs stay as they were"
        progress.say(f"{runs} begun, {difference}")
    return configs


def _standing(path: Path, own: str) -> tuple[bool, bool, bool]:
    try:
        record = read_record(path)
    except Unreadable:
        record = None
    return record is not None and record.is_done(), path.name == own, (path / CHECKPOINT).exists()


def _difference(begun: CellConfig, here: CellConfig) -> str:
    """How a run was begun otherwise than it would be here, and what would begin another."""
    how, otherwise = [], []
    if begun.training.precision != here.training.precision:
        how.append(f"in {begun.training.precision}")
        otherwise.append(f"--set training.precision={here.training.precision}")
    if "auto" not in (begun.threads, here.threads) and begun.threads != here.threads:
        how.append(f"with {begun.threads} CPU thread{'s' if begun.threads != 1 else ''}")
        otherwise.append(f"--set threads={here.threads}")
    elif begun.threads != here.threads:
        how.append("on a GPU" if begun.threads == "auto" else "on a CPU")
    return f"{' and '.join(how)}; {' '.join(otherwise) or 'another --results'} would begin anew"


def _nobody() -> Scheduler:
    raise UserError("what is queued is not asked for here")
