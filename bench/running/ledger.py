"""How far the cells of a study are: from their own heartbeats first, then from the queue.

Only small files are read, so that a thousand cells are told within two seconds. Nothing is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from bench.config import CellConfig
from bench.errors import UserError
from bench.journal.heartbeat import Heartbeat, read_heartbeat, record_stamp
from bench.journal.reading import Unreadable
from bench.journal.record import RECORD, Started, cell_folders, is_running, read_record, read_records, read_started
from bench.running import life
from bench.running.deaths import death_of, log_of
from bench.running.jobs import RUNS, Entry, Job, Queue, Scheduler, job_logs, read_job
from bench.study.plan import Cell, id_start, request_key, resolves

Kind = Literal["done", "running", "preempted", "queued", "cancelled", "interrupted", "failed", "unreadable", "missing"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""From what tells most to what tells least: where several folders answer a cell, the first of these counts."""

NEVER_BEGAN = (
    "its job was cancelled or lost before it began, and SLURM does not know it any more; `bench run` submits it"
)


LEFT = ("preempted", "timed out", "requeued")
"""How a run says that it left for its job to go back into the queue."""


@dataclass(frozen=True)
class CellState:
    """How far a cell is: its place, why it ended early or waits again (`reason`), and where to read more (`log`)."""

    kind: Kind
    detail: str = ""
    reason: str = ""
    log: Path | None = None
    folder: Path | None = None
    job: Job | None = None
    entry: Entry | None = None
    tests: tuple[str, ...] = ()
    """Test sets with a result."""
    ended: str = ""
    """SLURM's word for how its job ended, where the run itself could not say."""

    def __str__(self) -> str:
        if self.kind in ("running", "preempted", "queued", "interrupted", "cancelled") and self.detail:
            return f"{self.kind}, {self.detail}"
        return self.kind

    def lacking(self, tests: Sequence[str]) -> list[str]:
        """Those of the asked test sets that a finished cell has no result of."""
        return [test for test in tests if test not in self.tests] if self.kind == "done" else []

    @property
    def busy(self) -> bool:
        """Whether somebody works at the cell, or has it in a queue."""
        return self.kind in ("running", "preempted", "queued")


MISSING = CellState("missing")


@dataclass
class _Folder:
    """A cell's folder with the small files that lie in it."""

    path: Path
    started: Started
    heartbeat: Heartbeat | None
    job: Job | None
    fault: Unreadable | None
    """Why it is not known whose job the cell is."""


def _nobody(text: str) -> None:
    """Nobody listens."""


@dataclass
class Ledger:
    """The cells below a results folder. `scheduler` makes who is asked for jobs, if any are unsettled."""

    results: Path
    scheduler: Callable[[], Scheduler]
    say: Callable[[str], None] = _nobody
    """Is told what takes long."""
    notes: list[str] = field(default_factory=list)
    """What could not be found out, one sentence each."""
    faults: dict[Path, Unreadable] = field(default_factory=dict)
    """Files that were looked at and cannot be read."""

    def state_of(self, cell: Cell) -> CellState:
        """How far a planned cell is, whatever machine and data it ran on."""
        states = [self._state(folder) for folder in self._answering(cell)] or [self._lost(id_start(cell.config))]
        return min(states, key=lambda state: KINDS.index(state.kind))

    def state_of_folder(self, path: Path) -> CellState:
        """How far the cell of a folder is."""
        folder = self._by_path.get(path.absolute())
        return self._state(folder) if folder is not None else self._lost(path.name)

    def runs_of(self, cell: Cell) -> list[tuple[Path, CellConfig]]:
        """The folders of the runs that answer a planned cell, each with the configuration under which it was begun."""
        return [(folder.path, folder.started.config) for folder in self._answering(cell)]

    def entry_of(self, job: Job | None) -> Entry | None:
        """A job as the queue shows it."""
        if job is None or job.cluster != "slurm" or self.queue is None:
            return None
        return self.queue.get((job.name, job.index))

    @cached_property
    def drained(self) -> Mapping[str, str]:
        """Nodes that are out of use, and why."""
        return self.scheduler().drained()

    @property
    def cells(self) -> list[str]:
        """The ids of all cells that have a folder."""
        return sorted(path.name for path in self._by_path)

    @property
    def begun(self) -> dict[Path, Started]:
        """What the folders of cells are of, as far as they tell."""
        return {path: self._by_path[path].started for path in sorted(self._by_path)}

    @property
    def presets(self) -> list[str]:
        """The presets of all cells that have a record."""
        records = read_records(self.results, unreadable=[])
        return sorted({f"--preset {record.preset}" if record.preset else "no preset" for record in records})

    def _answering(self, cell: Cell) -> list[_Folder]:
        folders = self._folders.get(_key(cell.config, cell.numerics), ())
        return [folder for folder in folders if resolves(cell.config, folder.started.config)]

    @cached_property
    def _by_path(self) -> Mapping[Path, _Folder]:
        return {folder.path.absolute(): folder for folders in self._folders.values() for folder in folders}

    @cached_property
    def _folders(self) -> Mapping[str, list[_Folder]]:
        found: dict[str, list[_Folder]] = {}
        for path in cell_folders(self.results):
            started = self._subject(path)
            if started is not None:
                job, fault = None, None
                try:
                    job = read_job(path)
                except Unreadable as problem:
                    fault = problem
                folder = _Folder(path, started, read_heartbeat(path), job, fault)
                found.setdefault(_key(started.config, started.numerics), []).append(folder)
        return found

    def _subject(self, path: Path) -> Started | None:
        """What run a folder belongs to, by its own word or by its record; None if neither says it."""
        faults = []
        for read in (read_started, read_record):
            try:
                found = read(path)
            except Unreadable as fault:
                faults.append(fault)
                continue
            if found is not None:
                return Started(label=found.label, config=found.config, numerics=found.numerics)
        self.faults |= {fault.path: fault for fault in faults}
        return None

    @cached_property
    def queue(self) -> Queue | None:
        """The queue, asked for once; None where nobody answers, which a note tells."""
        try:
            return self.scheduler().queue()
        except UserError as fault:
            self.notes.append(str(fault))
            return None

    @cached_property
    def _ends(self) -> Mapping[tuple[str, int | None], str]:
        """How jobs ended that neither their cells nor the queue tell of."""
        folders = [folder for folders in self._folders.values() for folder in folders if folder.job is not None]
        # Accounts are large: those of jobs that a record has outlived are not looked through.
        jobs = [folder.job for folder in folders if folder.job.submitted >= _recorded(folder.path)]
        return self.scheduler().ends(jobs)

    @cached_property
    def _changing(self) -> frozenset[Path]:
        """Of the folders whose heartbeats clocks that disagree have dated, those where it changes."""
        folders = [folder for folders in self._folders.values() for folder in folders]
        doubtful = {folder.path: folder.heartbeat for folder in folders if self._lives(folder) is None}
        return life.changing(doubtful, self.say)

    def _runs(self, folder: _Folder) -> bool:
        found = self._lives(folder)
        return folder.path in self._changing if found is None else found

    def _lives(self, folder: _Folder) -> bool | None:
        found = life.lives(folder.path, folder.heartbeat)
        # The queue knows which of its jobs run.
        return False if found is None and folder.job is not None and folder.job.cluster == "slurm" else found

    def _state(self, folder: _Folder) -> CellState:
        path, heartbeat, job = folder.path, folder.heartbeat, folder.job
        if heartbeat is not None and self._runs(folder):
            return self._make(folder, "running", _progress(heartbeat))
        settled = self._settled(folder)
        if settled is not None and settled.kind == "done":
            return settled
        if folder.fault is not None:
            return self._unreadable(folder, folder.fault)
        if settled is not None and (job is None or job.submitted < _recorded(path)):
            return settled
        if job is not None and job.cluster == "slurm":
            return self._of_job(folder, job)
        if job is not None and (heartbeat is None or _waits_again(heartbeat, job)):
            return self._of_local_job(folder, job)
        if is_running(path):
            return self._make(folder, "running", "starting")
        if heartbeat is None and settled is None and record_stamp(path) is not None:
            return self._make(folder, "interrupted")  # trained, not tested
        if heartbeat is None:
            return settled or MISSING
        if heartbeat.state == "cancelled" or (job is not None and job.cancelled):
            return self._make(folder, "cancelled", str(heartbeat.place))
        return self._make(folder, "interrupted", str(heartbeat.place))

    def _settled(self, folder: _Folder) -> CellState | None:
        """The state of a cell with a record."""
        heartbeat, stamp = folder.heartbeat, record_stamp(folder.path)
        if stamp is None:
            return None
        told = heartbeat is not None and heartbeat.record_stamp == stamp and heartbeat.state in ("done", "failed")
        if told and os.access(folder.path / RECORD, os.R_OK):
            status, reason, tests = heartbeat.state, heartbeat.reason, heartbeat.tests
        else:
            try:
                record = read_record(folder.path)
            except Unreadable as fault:
                return self._unreadable(folder, fault)
            if record is None:
                return None
            status = record.status
            reason = f"{record.failure.phase}: {record.failure.reason}" if record.failure is not None else ""
            tests = [item.test for item in record.tests if item.state == "trained"]
            said = heartbeat is None or heartbeat.state == "done"
            if status != "failed" and not (record.is_done() and said):
                return None  # trained, cut off in its tests
        return self._make(folder, "done" if status == "done" else "failed", reason=reason, tests=tuple(tests))

    def _lost(self, name: str) -> CellState:
        """The state of a cell that no folder is known to be of; it may be one that does not tell what it is of."""
        fault = next((fault for fault in self.faults.values() if fault.path.parent.name.startswith(name)), None)
        return MISSING if fault is None else CellState("unreadable", reason=str(fault), folder=fault.path.parent)

    def _unreadable(self, folder: _Folder, fault: Unreadable) -> CellState:
        self.faults[fault.path] = fault
        return self._make(folder, "unreadable", reason=str(fault))

    def _of_job(self, folder: _Folder, job: Job) -> CellState:
        heartbeat = folder.heartbeat
        if job.cancelled or (heartbeat is not None and heartbeat.state == "cancelled"):
            return self._make(folder, "cancelled", str(heartbeat.place) if heartbeat is not None else "")
        if self.queue is None:
            return self._make(folder, "queued")
        entry = self.queue.get((job.name, job.index))
        known = heartbeat is not None and heartbeat.updated > job.submitted
        if entry is not None and entry.active:
            # A run that has left goes on COMPLETING for some seconds on its way back into the queue.
            left = known and heartbeat.state in LEFT and entry.state == "COMPLETING"
            if entry.state in RUNS and not left:
                return self._make(folder, "running", "starting", entry=entry)
            kind: Kind = "preempted" if known and heartbeat.state not in ("timed out", "requeued") else "queued"
            again = heartbeat.reason if known and heartbeat.state == "requeued" else ""
            return self._make(folder, kind, str(heartbeat.place) if known else "", again, entry)
        if entry is not None and entry.state.startswith("CANCELLED"):
            return self._make(folder, "cancelled", entry=entry)
        how = entry.state if entry is not None else self._ends.get((job.name, job.index), "")
        if how.startswith("CANCELLED"):
            return self._make(folder, "cancelled", entry=entry)
        if known and heartbeat.state in ("interrupted", *LEFT):
            return self._make(folder, "interrupted", str(heartbeat.place), entry=entry)
        if not (how or known or job_logs(job)):
            return self._make(folder, "cancelled", reason=NEVER_BEGAN)
        reason = death_of(heartbeat if known else None, job, how)
        return self._make(folder, "failed", reason=reason, entry=entry, ended=how)

    def _of_local_job(self, folder: _Folder, job: Job) -> CellState:
        if job.cancelled:
            return self._make(folder, "cancelled")
        lives = job.process is not None and job.process.lives
        if lives:
            return self._make(folder, "queued")
        if lives is None:
            return self._make(folder, "queued", f"on {job.process.host}")
        return self._make(folder, "failed", reason="the process that was to run it is gone")

    def _make(
        self,
        folder: _Folder,
        kind: Kind,
        detail: str = "",
        reason: str = "",
        entry: Entry | None = None,
        tests: tuple[str, ...] = (),
        ended: str = "",
    ) -> CellState:
        log = log_of(folder.path, folder.job) if kind == "failed" else None
        return CellState(kind, detail, reason, log, folder.path, folder.job, entry, tests, ended)


def _key(config: CellConfig, numerics: Mapping[str, int]) -> str:
    return f"{request_key(config)} {sorted(numerics.items())}"


def _waits_again(heartbeat: Heartbeat, job: Job) -> bool:
    """Whether a run that left before was submitted once more on this machine, and has not begun."""
    return heartbeat.updated < job.submitted and job.process is not None and bool(job.process.lives)


def _recorded(path: Path) -> float:
    """When the record of a cell was written, in seconds since 1970."""
    stamp = record_stamp(path)
    return stamp[1] / 1e9 if stamp else 0.0


def _progress(heartbeat: Heartbeat) -> str:
    left = heartbeat.seconds_left
    if left is None:
        return str(heartbeat.place)
    minutes, seconds = divmod(int(left), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{heartbeat.place}, {hours}:{minutes:02}:{seconds:02} left"
