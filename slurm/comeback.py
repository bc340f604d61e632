"""How a job goes back into the queue so that its next start asks for something else."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.errors import UserError
from bench.journal.heartbeat import Place, present_job, read_heartbeat, restate, this_host
from bench.journal.reading import Unreadable
from bench.journal.record import read_record, write_record
from bench.journal.starts import End, Start, add_start, end_start, read_starts
from bench.running.failures import failed_record, take_back_failure
from bench.running.nodes import all_starts, bad_nodes, fails_anywhere, left_out
from bench.running.task import CellTask
from bench.system.signals import STOP_SIGNALS
from slurm import queue
from slurm.memory import GROWTH, MIB, most_after

MOST_MEMORY = "BENCH_MOST_MEMORY_MIB"
"""The variable that tells a job up to how much memory of the machine its run may ask for."""


@dataclass
class PresentStart:
    """The start of a cell by this job, in the cell's own account of its starts."""

    task: CellTask
    job: str | None = field(default_factory=present_job)
    node: str = field(default_factory=lambda: os.environ.get("SLURMD_NODENAME") or this_host())
    memory_bytes: int | None = field(default_factory=lambda: _memory_of_job())
    began: float = field(default_factory=time.time)

    def begin(self) -> None:
        """Write it down, as far as the disk lets it."""
        start = Start(job=self.job or "", node=self.node, began=self.began, memory_bytes=self.memory_bytes)
        with _told_on_full_disk():
            add_start(self.task.folder, start)

    def end(self, how: End, reason: str = "") -> None:
        """Write down how it went, as far as the disk lets it."""
        with _told_on_full_disk():
            end_start(self.task.folder, how, reason)

    @property
    def place(self) -> Place:
        """How far the run got in this start."""
        last = read_heartbeat(self.task.folder)
        return last.place if last is not None and last.updated >= self.began else Place()

    def ask_for_more_memory(self) -> str:
        """After it was killed for memory: go back into the queue, and ask for half as much again; returns how it ended.

        Where it may not have more, the run has failed.
        """
        had = f"the {self.memory_bytes / 2**30:.1f} GiB that its job had" if self.memory_bytes else "its job had"
        reason = f"killed for taking more of the machine's memory than {had}, at {self.place}"
        self.end("memory", reason)
        most = self._most_memory()
        if not self.memory_bytes or most is None or most <= self.memory_bytes:
            bound = f"; {most / 2**30:.1f} GiB is the most that it may ask for" if most else ""
            return self.fail(f"{reason}{bound}: give it more, by memory and most_memory of its resources")
        more = -(-min(int(GROWTH * self.memory_bytes), most) // MIB)
        return self.go_back(f"{reason}; its next start asks for {more / 1024:.1f} GiB", MinMemoryNode=str(more))

    def _most_memory(self) -> int | None:
        """How much the run may ask for: what its resources say, and what the largest node of its partition has."""
        most = _mib(MOST_MEMORY) or most_after(read_starts(self.task.folder))
        if most is None:
            return None
        try:
            return min(most, max(queue.nodes(os.environ.get("SLURM_JOB_PARTITION")).values(), default=0) * MIB or most)
        except UserError:
            return most

    def leave_node(self, reason: str) -> str:
        """After it failed for what may lie with its node: go back into the queue, and keep off that node; returns how
        it ended.

        A run that fails alike on other nodes, or is left with none, has failed.
        """
        self.end("node", reason)
        results, own = self.task.results, read_starts(self.task.folder)
        if fails_anywhere(own):
            tried = sorted({start.node for start in own if start.how == "node"})
            return self.fail(f"{reason}; alike on {', '.join(tried)}, so that it lies with none of them")
        out = {self.node, *left_out(self.task.cell, bad_nodes(all_starts(results), time.time()))}
        try:
            if not queue.nodes(os.environ.get("SLURM_JOB_PARTITION")).keys() - out:
                return self.fail(f"{reason}; there is no other node that could run it")
            before = queue.show_job(self.job).excluded if self.job is not None else ""
        except UserError as fault:
            return self.fail(f"{reason}; whether another node could run it is not known ({fault})")
        wish = ",".join([*filter(None, [before]), *sorted(out)])
        return self.go_back(f"{reason}; its next start is kept off {self.node}", ExcNodeList=wish)

    def go_back(self, reason: str, **wishes: str) -> str:
        """Go back into the queue with other wishes, in scontrol's words; returns how it ended."""
        if self.job is None:
            return self.fail(reason)
        with _told_on_full_disk():
            self._take_back()
            restate(self.task.folder, "requeued", reason)
        # SLURM tells all that the job runs to leave as soon as it goes back, its own commands too.
        with _deaf():
            try:
                queue.requeue(self.job)
            except UserError as fault:
                return self.fail(f"{reason}; it could not go back into the queue ({fault})")
            try:
                # It cannot start again before this process has ended, or SLURM has waited for that long enough.
                queue.change(self.job, **wishes)
            except UserError as fault:
                with contextlib.suppress(UserError):
                    queue.end(self.job)
                return self.fail(f"{reason}; SLURM refuses that ({fault})")
        print(f"requeued: {reason}", flush=True)
        return "requeued"

    def fail(self, reason: str) -> str:
        """Record that the run failed; returns how it ended."""
        try:
            record = read_record(self.task.folder)
            phase = record.failure.phase if record is not None and record.failure is not None else self.place.phase
            write_record(self.task.folder, failed_record(self.task, record, phase, reason))
            restate(self.task.folder, "failed", reason)
        except (OSError, Unreadable) as obstacle:
            print(f"not recorded: {obstacle}", file=sys.stderr, flush=True)
        return f"failed: {reason}"

    def _take_back(self) -> None:
        """A run that goes on has not failed, whatever its process wrote in its last moments."""
        with contextlib.suppress(Unreadable):
            record = read_record(self.task.folder)
            if record is not None and record.failure is not None:
                take_back_failure(self.task.folder, record)


@contextlib.contextmanager
def _told_on_full_disk() -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        print(f"{fault.filename or 'its folder'}: {fault.strerror}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Neither this process nor what it starts takes notice of stop signals."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _memory_of_job() -> int | None:
    """What this job has of its node's memory in bytes: what it asked for, or its partition gives; None where all."""
    by_cpu, cpus = _mib("SLURM_MEM_PER_CPU"), os.environ.get("SLURM_CPUS_ON_NODE", "")
    return _mib("SLURM_MEM_PER_NODE") or (by_cpu * int(cpus) if by_cpu and cpus.isdecimal() else None)


def _mib(variable: str) -> int | None:
    """The bytes of an environment variable in MiB; None where it names none."""
    text = os.environ.get(variable, "")
    return int(text) * MIB if text.isdecimal() and int(text) else None
