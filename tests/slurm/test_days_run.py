"""A run of more than a day through a queue with a time limit of four hours, by a clock that is moved ahead.

SLURM is played; the job is the real one, in processes of its own: its supervisor, the cell, their signals and files. A
step of training takes a quarter of an hour by that clock, which processes share; the dates of heartbeats follow it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.journal import heartbeat, pulse
from bench.journal.heartbeat import HEARTBEAT, read_heartbeat, write_heartbeat
from bench.journal.record import read_record
from bench.running import ledger, life
from bench.running.cell import DONE, run_cell
from bench.running.jobs import Entry, Job, write_job
from bench.running.ledger import CellState, Ledger
from bench.running.preflight import RunOptions, preflight
from bench.running.targets import local_target
from bench.running.task import CellTask
from bench.study.definition import load_preset, load_study
from bench.study.plan import plan
from slurm import queue, worker
from slurm.queue import JobInfo

pytestmark = pytest.mark.slow

HOUR = 3600.0
STEP, LIMIT, ANNOUNCED, WAIT = 0.25 * HOUR, 4 * HOUR, 0.75 * HOUR, HOUR
"""A step, a job's time, how long before its end it is told to leave, and how long it waits for its next start."""
PREEMPTED_IN, DIES_IN = 2, 4
"""The start that another job cuts off after an hour, and the one whose node dies after an hour."""


class Day:
    """The clock and the cluster, seen alike by all processes."""

    def __init__(self, folder: Path) -> None:
        shared = multiprocessing.get_context("fork")
        self.folder, self.begun = folder, time.time()
        self.now: Any = shared.Value("d", self.begun)
        self.start: Any = shared.Value("d", 0.0)
        self.starts: Any = shared.Value("i", 0)
        self.requeues: Any = shared.Value("i", 0)
        self.preempted: Any = shared.Value("d", 0.0)
        self.writing = threading.Lock()
        """Of the cell's process: held while a heartbeat is written and dated."""
        self.told = False
        """Of the cell's process: whether it was told to leave."""

    def moved(self, event: str, detail: str) -> None:
        """Called by the cell's process whenever it says what it does: a step is over."""
        if event != "training":
            return
        with self.now.get_lock():
            self.now.value += STEP
        # The thread that writes heartbeats has had a quarter of an hour.
        end = time.monotonic() + 20
        while read_heartbeat(self.folder).updated < self.now.value and time.monotonic() < end:
            time.sleep(0.001)
        with self.writing, (self.folder.parent.parent / "looks").open("a") as file:
            file.write(f"{self.look('RUNNING').kind}\n")
        self._act(self.now.value - self.start.value)

    def _act(self, elapsed: float) -> None:
        supervisor = os.getppid()
        if self.starts.value == DIES_IN and elapsed >= HOUR:
            with self.writing:
                os.kill(supervisor, signal.SIGKILL)
                os.kill(os.getpid(), signal.SIGKILL)
        if self.told:
            return
        if self.starts.value == PREEMPTED_IN and elapsed >= HOUR:
            self.preempted.value = self.now.value
            self._tell(supervisor, signal.SIGTERM)
        elif elapsed >= LIMIT - ANNOUNCED:
            self._tell(supervisor, signal.SIGUSR2)

    def _tell(self, supervisor: int, number: int) -> None:
        self.told = True
        os.kill(supervisor, number)
        time.sleep(0.2)  # until it has come through to this process

    def look(self, state: str) -> CellState:
        """What `bench status` tells on another machine, where no lock can be seen."""
        entries = {("b-1", None): Entry("7", state, "None")}
        asked = SimpleNamespace(queue=lambda: entries, ends=lambda jobs: {})
        return Ledger(self.folder.parent.parent, lambda: asked).state_of_folder(self.folder)

    def show_job(self, identity: str) -> JobInfo:
        preempted = self.preempted.value or None
        return JobInfo("RUNNING", self.starts.value - 1, self.start.value + LIMIT, preempted)

    def requeue(self, identity: str) -> None:
        self.requeues.value += 1


@dataclass(frozen=True)
class Seen:
    """What came of a start."""

    code: int | None
    seconds: float
    waiting: CellState
    """While it waits for the next one."""


@pytest.fixture
def task(tiny_data, tmp_path) -> CellTask:
    cells = plan(load_study("table2"), load_preset("tiny"), {"training": {"epochs": 6}}, ["ViT"], seeds=[0])
    options = RunOptions(tmp_path / "results", tiny_data / "standin-tiny", lambda _: local_target("cpu"))
    return preflight(cells, replace(options, tests=("market",)))[0]


@pytest.fixture
def day(task, monkeypatch) -> Day:
    task.folder.mkdir(parents=True)
    found = Day(task.folder)
    write_job(task.folder, Job(cluster="slurm", name="b-1", folder=str(task.results), submitted=found.begun - 60))

    def dated(folder: Path, value: heartbeat.Heartbeat) -> None:
        with found.writing:
            write_heartbeat(folder, value)
            os.utime(folder / HEARTBEAT, (found.now.value,) * 2)

    clock = SimpleNamespace(time=lambda: found.now.value, monotonic=lambda: found.now.value)
    monkeypatch.setattr(pulse, "time", clock)
    monkeypatch.setattr(life, "time", clock)
    monkeypatch.setattr(worker, "time", SimpleNamespace(time=clock.time, sleep=time.sleep))
    monkeypatch.setattr(pulse, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(pulse, "this_host", lambda: "node7")
    monkeypatch.setattr(pulse, "write_heartbeat", dated)
    monkeypatch.setattr(heartbeat, "write_heartbeat", dated)
    monkeypatch.setattr(pulse, "_ignore", found.moved)
    for module in (life, ledger):
        monkeypatch.setattr(module, "is_running", lambda folder: None)
    monkeypatch.setattr(queue, "show_job", found.show_job)
    monkeypatch.setattr(queue, "requeue", found.requeue)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv(worker.SIGNAL_SECONDS, str(int(ANNOUNCED)))
    return found


def starts_until_done(day: Day, task: CellTask, monkeypatch: pytest.MonkeyPatch) -> list[Seen]:
    """SLURM starts the job again and again, each time after it has waited."""
    found: list[Seen] = []
    while not found or found[-1].waiting.kind != "done":
        assert len(found) < 20
        monkeypatch.setenv("SLURM_RESTART_COUNT", str(len(found)))
        day.start.value, day.starts.value, day.preempted.value = day.now.value, len(found) + 1, 0.0
        process = multiprocessing.get_context("fork").Process(target=worker.run_job, args=(task, Path.cwd()))
        process.start()
        process.join(60)
        seconds = day.now.value - day.start.value
        day.now.value += WAIT
        found.append(Seen(process.exitcode, seconds, day.look("PENDING")))
    return found


def test_it_comes_home_by_as_many_starts_as_it_takes(day, task, monkeypatch):
    alone = replace(task, results=task.results / "alone")
    with monkeypatch.context() as undisturbed:
        undisturbed.setattr(pulse, "_ignore", lambda event, detail: None)
        undisturbed.delenv("SLURM_JOB_ID")
        assert run_cell(alone) == DONE
    seen = starts_until_done(day, task, monkeypatch)

    assert day.now.value - day.begun > 24 * HOUR and len(seen) > 5
    # Whoever was told left before its time was up, and no start was cut off by SLURM.
    assert all(start.seconds < LIMIT for start in seen)
    assert all(start.seconds >= LIMIT - ANNOUNCED for number, start in enumerate(seen[:-1], 1)
               if number not in (PREEMPTED_IN, DIES_IN))  # fmt: skip
    assert seen[PREEMPTED_IN - 1].seconds < 2 * HOUR > seen[DIES_IN - 1].seconds
    # It put itself back into the queue each time but when its node died, which SLURM does, and when it was done.
    assert day.requeues.value == len(seen) - 2 and seen[DIES_IN - 1].code == -signal.SIGKILL
    # Between two starts it waits, whatever the date of its last word; at work it is seen to go on.
    assert {start.waiting.kind for start in seen[:-1]} == {"queued", "preempted"}
    assert seen[PREEMPTED_IN - 1].waiting.kind == "preempted" and "epoch" in seen[0].waiting.detail
    assert set((task.results / "looks").read_text().split()) == {"running"}
    record = read_record(task.folder)
    assert record.provenance.segments in (len(seen) - 1, len(seen))  # the last may have had tests to do alone
    assert record.weights_hash == read_record(alone.folder).weights_hash


def test_a_node_that_dies_with_nobody_to_requeue_its_job_is_told_after_a_minute_and_a_half(day, task, monkeypatch):
    monkeypatch.setattr(f"{__name__}.DIES_IN", 1)
    day.start.value, day.starts.value = day.now.value, 1
    process = multiprocessing.get_context("fork").Process(target=worker.run_job, args=(task, Path.cwd()))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    day.now.value += heartbeat.STALE_SECONDS - 10
    assert day.look("NODE_FAIL").kind == "running"  # as far as another machine can tell
    day.now.value += 20
    state = day.look("NODE_FAIL")
    assert state.kind == "failed" and "died without a word (SLURM: node fail)" in state.reason
