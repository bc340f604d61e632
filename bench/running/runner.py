"""Running cells on this machine, each in a process of its own.

A process per cell keeps memory figures apart and lets one cell die without the others.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from multiprocessing import connection
from multiprocessing.process import BaseProcess

import torch

from bench.environment import cpus
from bench.running.cell import run_cell
from bench.running.failures import reason_of
from bench.running.outcome import Outcome, outcome_after, outcome_before
from bench.running.task import CellTask
from bench.system.processes import follow_parent, forking
from bench.system.signals import Interruption, held_back

MOST_JOBS = 4
"""Runs at a time that are started unasked: so many small ones stay within the memory of a laptop."""
SECONDS_TO_LEAVE = 10.0
"""That a run has after an insistent Ctrl-C."""


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
    Returns the outcomes in the order of the tasks. However this ends, no run outlives it: a stop signal, or anything
    else that is raised, has the runs save and leave first (Interrupted).
    """
    # Rows that come to the same configuration are one run.
    waiting = list({task.cell: dataclasses.replace(task, jobs=jobs) for task in tasks}.values())
    outcomes: dict[str, Outcome] = {}

    def settle(outcome: Outcome) -> None:
        outcomes[outcome.task.cell] = outcome
        report(outcome)

    interruption = Interruption()
    with interruption.watching():
        runs = _Runs(jobs, devices, interruption)
        try:
            try:
                while waiting or runs.running:
                    while waiting and runs.has_room():
                        task = waiting.pop(0)
                        outcome = outcome_before(task) or runs.start(task)
                        if outcome is not None:
                            settle(outcome)
                    for outcome in runs.ended():
                        settle(outcome)
            finally:
                interruption.leave()
        except BaseException:
            runs.send_away()
            raise
    return [outcomes[cell] for cell in dict.fromkeys(task.cell for task in tasks)]


class _Runs:
    """The processes of runs under way, by the line of the terminal on which each draws its bars."""

    def __init__(self, jobs: int, devices: Sequence[str], interruption: Interruption) -> None:
        self._jobs, self._devices, self._interruption = jobs, devices, interruption
        self.running: dict[int, tuple[CellTask, BaseProcess]] = {}

    def has_room(self) -> bool:
        return len(self.running) < self._jobs

    def start(self, task: CellTask) -> Outcome | None:
        """Start a run; returns its outcome if it cannot be started."""
        slot = next(number for number in range(self._jobs) if number not in self.running)
        if self._devices:
            task = dataclasses.replace(task, device=self._devices[slot % len(self._devices)])
        context = forking("bench.running.cell")
        # A process that is not yet in `running` would be forgotten if a signal came now.
        with held_back():
            try:
                process = context.Process(target=_entry, args=(task, slot), name=task.cell)
                process.start()
            except (OSError, EOFError) as fault:
                return Outcome(task, None, f"its process could not be started: {reason_of(fault)}")
            self.running[slot] = (task, process)
        return None

    def ended(self) -> list[Outcome]:
        """Wait until runs end, if any are under way; returns their outcomes."""
        found = connection.wait([process.sentinel for _, process in self.running.values()]) if self.running else []
        self._interruption.obey()
        outcomes = []
        for slot, (task, process) in list(self.running.items()):
            if process.sentinel in found:
                process.join()
                del self.running[slot]
                outcomes.append(outcome_after(task, process.exitcode))
        return outcomes

    def send_away(self) -> None:
        """Have all runs save and leave, and wait for them; those that do not after an insistent Ctrl-C are killed."""
        count, patience = len(self.running), math.inf
        for task, _ in list(self.running.values())[:1]:
            what = f"{count} runs save and leave" if count > 1 else "the run saves and leaves"
            task.progress.say(f"{self._interruption.signal_name or 'stop'}: {what}")
        for _, process in self.running.values():
            process.terminate()
        while any(process.exitcode is None for _, process in self.running.values()):
            connection.wait([process.sentinel for _, process in self.running.values()], timeout=0.2)
            if self._interruption.insistent:
                patience = min(patience, time.monotonic() + SECONDS_TO_LEAVE)
            if time.monotonic() > patience:
                for _, process in self.running.values():
                    process.kill()


def _entry(task: CellTask, slot: int) -> None:
    follow_parent()
    # Runs side by side draw their progress bars on lines of their own.
    progress = dataclasses.replace(task.progress, line=slot, label=task.label)
    raise SystemExit(run_cell(dataclasses.replace(task, progress=progress)))
