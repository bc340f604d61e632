"""What a job runs: one cell, in a process of its own that may die, and what becomes of it when it is cut off."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from bench.environment import memory_kills
from bench.errors import UserError
from bench.journal.heartbeat import State, read_heartbeat, restate
from bench.running.cell import BUSY, DONE, INTERRUPTED, last_words, run_cell
from bench.running.nodes import lies_with_node
from bench.running.outcome import outcome_after
from bench.running.task import CellTask
from bench.system.processes import follow_parent, how_it_ended
from bench.system.signals import STOP_SIGNALS
from bench.system.streams import tolerant_streams
from slurm import queue
from slurm.comeback import PresentStart
from slurm.folder import working_in
from slurm.queue import JobInfo

SIGNAL_SECONDS = "BENCH_SIGNAL_SECONDS"
"""The variable that tells a job how long before its end it is to be told."""
BUSY_SECONDS = 5.0
"""How often a job looks whether a cell that another process has is free."""
TIME_MARGIN = 90.0
"""SLURM looks at time limits once a minute, so the signal before the end may come this much too early."""


@dataclass(frozen=True)
class Decision:
    """What a cut-off run is, and whether its job has to put itself back into the queue."""

    state: State
    requeue: bool
    reason: str


def run_job(task: CellTask, given_in: Path) -> str:
    """Run a cell to its end, as far as this job gets; returns how it ended.

    The cell works in the folder in which the command was given, while the job keeps to that of its submission.
    """
    with tolerant_streams():
        outcome = _Supervisor(task, given_in).run()
        print(f"{task.cell}: {outcome}", flush=True)
        return outcome


def decide(job: JobInfo, signal_name: str, restarts: int, now: float, announced: float = 120.0) -> Decision:
    """What SLURM's own account makes of a run that left at a signal. `restarts` is how often it was requeued before,
    `announced` how many seconds before the end of its time SIGUSR2 was ordered.

    A job that ends by itself in the grace time of a preemption counts as completed and would not come back: it has to
    be requeued. One that SLURM has requeued already must not be, since that would cut off its next start.
    """
    left = job.limit - now if job.limit is not None else math.inf
    if job.state.startswith("CANCELLED"):
        return Decision("cancelled", False, "cancelled by scancel")
    if job.restarts > restarts or job.state == "PENDING":
        return Decision("preempted", False, "preempted; SLURM has requeued it")
    if job.preempt_time is not None:
        return Decision("preempted", True, "preempted by another job")
    if job.state == "TIMEOUT" or left <= 0:
        return Decision("timed out", True, "its time was up")
    if job.state != "RUNNING":
        # While its processes end, SLURM says COMPLETING, whatever ended it; with time left, that was scancel.
        return Decision("cancelled", False, "cancelled by scancel")
    if signal_name == "SIGUSR2" and left <= announced + TIME_MARGIN:
        return Decision("timed out", True, "its time was nearly up")
    return Decision("preempted", True, f"told to leave by {signal_name}")


class _Supervisor:
    """Starts the cell again where its process died; the cell itself fails when that happens time and again."""

    def __init__(self, task: CellTask, given_in: Path) -> None:
        self.task, self.given_in, self.child = task, given_in, None
        self.told = ""
        """The signal that told it to leave."""
        self.start = PresentStart(task)

    def run(self) -> str:
        # These replace Submitit's own handlers, which guess whether a signal means a time-out.
        for number in STOP_SIGNALS:
            signal.signal(number, self._forward)
        self.start.begin()
        while True:
            kills = memory_kills()
            code = self._run_once()
            if code is None:
                return "failed: its process could not be started"
            if code == INTERRUPTED:
                return self._settle()
            if code not in (DONE, BUSY) and not self.told and _more(kills, memory_kills()):
                # Of the run itself, or of a process that calculated for it: there is no use in another try.
                return self.start.ask_for_more_memory()
            if code == -signal.SIGBUS and not self.told:
                return self.start.leave_node(f"its process {how_it_ended(code)}")
            if code >= 0 and code != BUSY:
                return self._judge(code)
            if self.told:
                # Nothing of this process was saved, but what was before is safe.
                return self._settle()
            if code == BUSY:
                time.sleep(BUSY_SECONDS)
            else:
                print(f"the process {how_it_ended(code)}; starting it again", file=sys.stderr, flush=True)

    def _judge(self, code: int) -> str:
        """Tell how a run ended that came to its end."""
        outcome = outcome_after(self.task, code)
        if not outcome.failed:
            self.start.end("done")
            return "done"
        if not self.told and lies_with_node(f"{outcome.reason}\n{last_words(self.task.folder)}"):
            return self.start.leave_node(outcome.reason)
        self.start.end("failed", outcome.reason)
        return f"failed: {outcome.reason}"

    def _run_once(self) -> int | None:
        # A signal between the fork and the cell's first look would be lost: it is held back until the cell listens.
        # `bench.system.held_start` does so with one that came before.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        self.child = multiprocessing.get_context("fork").Process(target=_child, args=(self.task, self.given_in))
        try:
            self.child.start()
        except OSError as fault:
            print(f"cannot start the run's process: {fault.strerror}", file=sys.stderr, flush=True)
            self.child = None
            return None
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        self.child.join()
        return self.child.exitcode

    def _forward(self, number: int, frame: FrameType | None) -> None:
        self.told = self.told or signal.Signals(number).name
        if self.child is not None and self.child.pid is not None and self.child.is_alive():
            os.kill(self.child.pid, number)

    def _settle(self) -> str:
        """Find out why, say so in the heartbeat, and go back into the queue if SLURM does not do that itself."""
        # Of an array, the place too: SLURM takes the number alone for the whole array.
        identity = self.start.job
        if identity is None:
            return "interrupted"
        signal_name = self.told
        # A run may have been told without this process; one that was told before it began has said nothing.
        if not signal_name and (heartbeat := read_heartbeat(self.task.folder)) is not None:
            signal_name = heartbeat.reason
        decision = _ask_and_decide(identity, signal_name)
        # A disk that is full now may have room when the job starts again: nothing keeps it from its place in the queue.
        try:
            restate(self.task.folder, decision.state, decision.reason)
        except OSError as fault:
            print(f"{self.task.folder}: {fault.strerror}", file=sys.stderr, flush=True)
        self.start.end("left", decision.reason)
        print(f"{decision.state}: {decision.reason}", flush=True)
        if decision.requeue:
            try:
                queue.requeue(identity)
            except UserError as fault:
                # "Job is pending execution": SLURM was quicker.
                print(f"not requeued: {fault}", file=sys.stderr, flush=True)
        return decision.state


def _ask_and_decide(identity: str, signal_name: str) -> Decision:
    restarts = _whole_number("SLURM_RESTART_COUNT", 0)
    announced = _whole_number(SIGNAL_SECONDS, 120)
    for _ in range(3):
        try:
            return decide(queue.show_job(identity), signal_name, restarts, time.time(), announced)
        except UserError as fault:
            print(f"cannot ask SLURM: {fault}", file=sys.stderr, flush=True)
            time.sleep(1.0)
    return Decision("preempted", True, f"told to leave by {signal_name}; SLURM does not say why")


def _more(before: int | None, after: int | None) -> bool:
    """Whether processes were killed for memory in between, as far as the system counts them."""
    return before is not None and after is not None and after > before


def _child(task: CellTask, given_in: Path) -> None:
    follow_parent()
    with working_in(given_in):
        raise SystemExit(run_cell(task))


def _whole_number(variable: str, default: int) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else default
