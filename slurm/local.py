"""Running cells on this machine through Submitit: detached from the shell, or one by one in this process."""

from __future__ import annotations

import dataclasses
import os
import secrets
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from submitit import DebugExecutor, LocalExecutor

from bench.errors import CellFailed, UserError
from bench.running.cell import CellTask, run_cell
from bench.running.jobs import ClusterSettings, Entry, Job, write_job
from bench.running.outcome import Outcome, outcome_after
from bench.running.runner import default_jobs, run_all
from bench.system.signals import Interrupted, Interruption
from bench.system.streams import tolerant_streams
from slurm.snapshot import freeze, keep_head

NO_LIMIT_MINUTES = 60 * 24 * 365
"""Submitit asks for a time limit; on one's own machine there is none."""


class LocalCluster:
    """This machine: as many runs at a time as there are devices, or `--jobs`, in the background."""

    def __init__(self, settings: ClusterSettings) -> None:
        if settings.resources is not None or settings.overrides or settings.max_parallel is not None:
            raise UserError(
                f"--cluster {settings.name} runs here: --resources, --resource and --max-parallel are for --cluster "
                "slurm; say --jobs for how many at a time"
            )
        self.settings = settings

    def target(self, head: str) -> None:
        """This machine."""
        return None

    def queue(self) -> Mapping[tuple[str, int | None], Entry]:
        """Nothing: the cells' own heartbeats tell all."""
        return {}

    def ends(self, jobs: Sequence[Job]) -> Mapping[tuple[str, int | None], str]:
        """Nothing."""
        return {}

    def cancel(self, ids: Sequence[str]) -> None:
        """Ask the processes of submissions to save and leave."""
        for identity in ids:
            try:
                os.kill(int(identity), signal.SIGTERM)
            except ProcessLookupError:
                continue

    def scripts(self, tasks: Sequence[CellTask]) -> list[str]:
        """No script is needed here."""
        return []

    def submit(self, tasks: Sequence[CellTask]) -> str:
        """Start one process that runs them all and outlives this shell."""
        snapshot = freeze(self.settings.results)
        tasks = [dataclasses.replace(task, head=keep_head(task.head, snapshot.path)) for task in tasks]
        devices = self.settings.devices or ("cpu",)
        jobs = self.settings.jobs or default_jobs(tasks, devices)
        name = f"bench-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        folder = self.settings.results.absolute() / "submissions" / name
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        with _detached(snapshot.path):
            executor = LocalExecutor(folder)
            executor.update_parameters(timeout_min=NO_LIMIT_MINUTES)
            job = executor.submit(run_tasks, tasks, jobs, devices, visible)
        job.cancel_at_deletion(False)
        for task in tasks:
            write_job(
                task.folder,
                Job(cluster="local", name=name, folder=str(folder), submitted=time.time(), pid=int(job.job_id)),
            )
        return f"{len(tasks)} runs, {jobs} at a time, in the background (process {job.job_id}), output in {folder}"


class DebugCluster(LocalCluster):
    """This process: one run after the other, where a debugger can look."""

    def submit(self, tasks: Sequence[CellTask]) -> str:
        """Run them all, and say how each ended. Raises CellFailed in the end if some failed."""
        executor = DebugExecutor(self.settings.results.absolute() / "submissions" / "debug")
        failed = []
        with Interruption().watching() as interruption:
            for task in tasks:
                outcome = outcome_after(task, executor.submit(run_cell, task).result())
                interruption.obey()
                told = f"FAILED: {outcome.reason}" if outcome.failed else outcome.reason or "done"
                print(f"{task.label}  {task.config.train} seed {task.config.seed}  {told}", flush=True)
                failed += [task.label] if outcome.failed else []
        if failed:
            raise CellFailed(f"{len(failed)} of {len(tasks)} runs failed: {', '.join(failed)}")
        return f"{len(tasks)} runs were run in this process"


def run_tasks(tasks: Sequence[CellTask], jobs: int, devices: Sequence[str], visible: str | None) -> int:
    """In the background process: run all, tell each outcome; returns how many failed."""
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible

    with tolerant_streams():
        try:
            outcomes = run_all(tasks, jobs, _tell, devices)
        except Interrupted as stop:
            print(f"asked to leave ({stop.signal_name}); all runs have saved", flush=True)
            return 0
    return sum(outcome.failed for outcome in outcomes)


def _tell(outcome: Outcome) -> None:
    print(f"{outcome.task.cell}: {outcome.reason or 'done'}", flush=True)


@contextmanager
def _detached(code: Path) -> Iterator[None]:
    """Processes started in the block run the frozen code, survive the terminal and do not write to it."""
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "PYTHONSAFEPATH")}
    os.environ.update(PYTHONPATH=str(code), PYTHONSAFEPATH="1")
    hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    kept = {number: os.dup(number) for number in (0, 1, 2)}
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        for number in kept:
            os.dup2(nothing, number)
        yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
        os.close(nothing)
        signal.signal(signal.SIGHUP, hangup)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
