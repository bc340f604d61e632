"""What a report is drawn from: records of runs with their epochs, of speed and shortlists; and what is unreadable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.config import HELD_OUT, OUTSIDE
from bench.data import NAMES
from bench.data.own_names import is_own
from bench.data.sources import canonical
from bench.errors import UserError
from bench.journal.epochs import Epoch, read_epochs
from bench.journal.reading import Unreadable
from bench.journal.record import RECORD, Record, cell_folders, read_record
from bench.journal.shortlists import ShortlistRecord, read_shortlists
from bench.perf.records import PerfRecord, read_perf


@dataclass(frozen=True)
class Sources:
    """All that lies below a results folder; `unreadable` is what a report has to do without."""

    records: tuple[Record, ...]
    speed: tuple[PerfRecord, ...]
    shortlists: tuple[ShortlistRecord, ...]
    epochs: dict[str, tuple[Epoch, ...]]
    """What the runs noted of their epochs, by their cells."""
    unreadable: tuple[Unreadable, ...]


def read_sources(results: Path, speed: bool, shortlists: bool) -> Sources:
    """The records below a results folder in the order of their names; those of speed and shortlists if asked for."""
    records: list[Record] = []
    epochs: dict[str, tuple[Epoch, ...]] = {}
    unreadable: list[Unreadable] = []
    for folder in cell_folders(results):
        try:
            record = read_record(folder)
            if record is not None:
                _check_sets(folder / RECORD, record)
                records.append(record)
                epochs[record.cell] = read_epochs(folder)
        except Unreadable as fault:
            unreadable.append(fault)
    measured: list[PerfRecord] = []
    try:
        measured += read_perf(results, unreadable) if speed else []
    except Unreadable as fault:
        unreadable.append(fault)
    curves: list[ShortlistRecord] = []
    try:
        curves += read_shortlists(results, unreadable) if shortlists else []
    except Unreadable as fault:
        unreadable.append(fault)
    return Sources(tuple(records), tuple(measured), tuple(curves), epochs, tuple(unreadable))


def _check_sets(path: Path, record: Record) -> None:
    tests = {result.test for result in record.tests if not is_own(result.test)}
    trains = set() if _is_source(record.config.train) else {record.config.train}
    unknown = sorted(tests.difference((*NAMES, HELD_OUT)) | trains)
    if unknown:
        raise Unreadable(
            path,
            f"is not of this version of the suite (unknown data set: {', '.join(unknown)})",
            "move its folder away, or draw the report with the version that wrote it",
        )


def _is_source(train: str) -> bool:
    try:
        return train == OUTSIDE or canonical(train) == train
    except UserError:
        return False
