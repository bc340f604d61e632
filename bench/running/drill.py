"""Proof that interruptions change nothing: a run killed again and again ends with the bits of an undisturbed one."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from bench.errors import CellFailed
from bench.journal.record import Record, read_record
from bench.running.cell import DONE, INTERRUPTED, run_cell
from bench.running.task import CellTask
from bench.system.processes import ended_with, follow_parent, forking

PHASES = ("sampling", "training", "saving", "testing")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGUSR2)
EVENTS_TO_PASS = {"sampling": 12, "training": 5, "saving": 3, "testing": 4}
"""A kill comes after up to this many events of its phase, a random number of them."""


@dataclass(frozen=True)
class Kill:
    """One interruption: what was sent while the run was doing what, and where it had got to."""

    signal_name: str
    phase: str
    detail: str
    progress: str
    """What had been saved since the start before."""


@dataclass(frozen=True)
class Drill:
    """What came of it."""

    kills: list[Kill]
    differences: list[str]
    seconds: float

    def counts(self) -> dict[str, int]:
        """Kills by phase."""
        return {phase: sum(kill.phase == phase for kill in self.kills) for phase in PHASES}


def epochs_for(kills: int) -> int:
    """Epochs enough for every kill to find its phase after new progress."""
    return kills + 2


def run_drill(task: CellTask, kills: int, seed: int, say: Callable[[str], None]) -> Drill:
    """Run a task undisturbed below results/whole, and killed below results/killed; compare.

    Raises CellFailed if either does not reach its results.
    """
    start = time.monotonic()
    whole = dataclasses.replace(task, results=task.results / "whole")
    # Saving at every chance makes every moment one after new progress, and saving itself something to be killed in.
    killed = dataclasses.replace(task, results=task.results / "killed", save_seconds=0.0)
    say("undisturbed run")
    code, _ = _Life(whole).run()
    if code != DONE:
        raise CellFailed(f"the undisturbed run ended with code {code}: {_reason(whole)}")
    done: list[Kill] = []
    for plan in _plan(kills, seed):
        code, kill = _Life(killed, plan).run()
        if kill is None or (code not in (INTERRUPTED, -signal.SIGKILL)):
            raise CellFailed(f"the run ended with code {code} before all kills were done: {_reason(killed)}")
        done.append(kill)
        say(f"{len(done):3}  {kill.signal_name:7} while {kill.phase:8} ({kill.detail}), after: {kill.progress}")
    code, _ = _Life(killed).run()
    if code != DONE:
        raise CellFailed(f"the killed run ended with code {code}: {_reason(killed)}")
    differences = compare(read_record(whole.folder), read_record(killed.folder))
    return Drill(done, differences, time.monotonic() - start)


def compare(whole: Record, killed: Record) -> list[str]:
    """What differs between the results of two runs of the same cell: weights, and ranks and precisions per query."""
    found = [] if whole.weights_hash == killed.weights_hash else ["the weights"]
    for test in whole.tests:
        other = killed.result(test.test, test.state)
        for name in ("query_index", "first_rank", "average_precision"):
            if other is None or getattr(test, name) != getattr(other, name):
                found.append(f"{name} on {test.test} ({test.state})")
    return found


@dataclass(frozen=True)
class _Plan:
    """A signal for the event number `after` of a phase, `delay` seconds later."""

    phase: str
    signal: signal.Signals
    after: int
    delay: float


def _plan(kills: int, seed: int) -> list[_Plan]:
    """As many kills in each phase, random moments; those in tests last, since training never comes back after them."""
    draws = np.random.default_rng(seed)
    phases = [PHASES[number % len(PHASES)] for number in range(kills)]
    in_training = [phase for phase in phases if phase != "testing"]
    ordered = [str(phase) for phase in draws.permutation(in_training)] + ["testing"] * phases.count("testing")
    turn = dict.fromkeys(PHASES, 0)
    plans = []
    for phase in ordered:
        chosen = SIGNALS[turn[phase] % len(SIGNALS)]
        turn[phase] += 1
        delay = float(draws.uniform(0, 0.004))
        plans.append(_Plan(phase, chosen, int(draws.integers(EVENTS_TO_PASS[phase])), delay))
    return plans


class _Life:
    """One process of the run, from its start to its end or its kill."""

    def __init__(self, task: CellTask, plan: _Plan | None = None) -> None:
        self.task, self.plan = task, plan
        self.progress, self.passed, self.phase, self.detail = "", 0, "starting", ""

    def run(self) -> tuple[int, Kill | None]:
        """The exit code, and the kill if it came to it."""
        context = forking("bench.running.drill")
        ours, theirs = context.Pipe(duplex=False)
        with ended_with(context.Process(target=_child, args=(self.task, theirs))) as process:
            theirs.close()
            kill = self._follow(process.pid, ours)
        return process.exitcode, kill

    def _follow(self, pid: int, ours: Connection) -> Kill | None:
        told = False
        phase, detail, progress = "", "", ""
        while True:
            try:
                event, text = ours.recv()
            except EOFError:
                break
            self._note(event, text)
            if not told and self._is_time():
                time.sleep(self.plan.delay)
                while ours.poll():  # what happened meanwhile
                    self._note(*ours.recv())
                phase, detail, progress = self.phase, self.detail, self.progress
                if phase == self.plan.phase:
                    os.kill(pid, self.plan.signal)
                    told = True
        if not told:
            return None
        if self.plan.signal == signal.SIGKILL:
            # All that was still in the pipe happened before the end.
            phase, detail, progress = self.phase, self.detail, self.progress
        return Kill(self.plan.signal.name, phase, detail, progress)

    def _note(self, event: str, text: str) -> None:
        if event == "saved":
            self.progress = text
            return
        self.phase, self.detail = event, text
        if self.plan is not None and event == self.plan.phase and self.progress:
            self.passed += 1

    def _is_time(self) -> bool:
        return self.plan is not None and self.phase == self.plan.phase and self.passed > self.plan.after


def _child(task: CellTask, pipe: Connection) -> None:
    follow_parent()
    raise SystemExit(run_cell(task, lambda event, text: pipe.send((event, text))))


def _reason(task: CellTask) -> str:
    record = read_record(task.folder)
    return record.failure.reason if record is not None and record.failure is not None else "no reason was recorded"


def describe(kills: Sequence[Kill]) -> str:
    """Kills by signal, as a sentence."""
    names = [kill.signal_name for kill in kills]
    return ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))
