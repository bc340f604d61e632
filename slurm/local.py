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

from submitit import LocalExecutor

from bench.errors import CellFailed, UserError
from bench.running.cell import run_cell
from bench.running.identity import end, identify
from bench.running.jobs import Accounted, Called, ClusterSettings, HandedOver, Job, JobPlace, Queue, write_job
from bench.running.outcome import Outcome, outcome_after
from bench.running.runner import default_jobs, run_all
from bench.running.submitted import Account, write_account
from bench.running.task import CellTask
from bench.system.signals import Interrupted, Interruption
from bench.system.streams import tolerant_streams
from slurm.folder import entered, environment, submission_folder, working_in
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

    def target(self, run: Called) -> None:
        """This machine."""
        return None

    def queue(self) -> Queue:
        """Nothing: the cells' own heartbeats tell all."""
        return {}

    def ends(self, jobs: Sequence[Job]) -> Mapping[JobPlace, str]:
        """Nothing."""
        return {}

    def accounts(self, jobs: Sequence[Job]) -> Mapping[JobPlace, Accounted]:
        """Nothing: the runs measure themselves."""
        return {}

    def drained(self) -> Mapping[str, str]:
        """Nothing: there is one machine."""
        return {}

    def cancel(self, jobs: Sequence[Job]) -> Mapping[JobPlace, str]:
        """Ask the processes of submissions to save and leave, each once."""
        submissions = {job.place: job.process for job in jobs if job.process is not None}
        return {place: str(process.pid) for place, process in submissions.items() if end(process)}

    def scripts(self, tasks: Sequence[CellTask]) -> list[str]:
        """No script is needed here."""
        return []

    def submit(self, tasks: Sequence[CellTask]) -> HandedOver:
        """Start one process that runs them all and outlives this shell."""
        name = f"bench-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        folder = submission_folder(self.settings.results, name)
        snapshot = freeze(self.settings.results)
        tasks = [dataclasses.replace(task, head=keep_head(task.head, snapshot.path)) for task in tasks]
        devices = self.settings.devices or ("cpu",)
        jobs = self.settings.jobs or default_jobs(tasks, devices)
        visible, given_in = os.environ.get("CUDA_VISIBLE_DEVICES"), Path.cwd()
        process, submitted = None, time.time()
        account = Account(cluster="local", commit=snapshot.commit, dirty=snapshot.dirty, snapshot=str(snapshot.path))
        try:
            write_account(folder, account)
            with _detached(snapshot.path), entered(folder) as here:
                executor = LocalExecutor(here)
                executor.update_parameters(timeout_min=NO_LIMIT_MINUTES)
                started = executor.submit(run_tasks, tasks, jobs, devices, visible, given_in)
            started.cancel_at_deletion(False)
            process = identify(int(started.job_id))
            write_account(folder, account.model_copy(update={"process": process}))
            job = Job(cluster="local", name=name, folder=str(folder), submitted=submitted, process=process)
            for task in tasks:
                write_job(task.folder, job)
        except (RuntimeError, OSError) as fault:
            if process is not None:
                end(process)
            reason = fault.strerror if isinstance(fault, OSError) else fault
            raise UserError(f"cannot start runs in the background: {folder}: {reason}") from fault
        return HandedOver(
            f"{len(tasks)} runs, {jobs} at a time, in the background (process {started.job_id}), output in {folder}"
        )


class DebugCluster(LocalCluster):
    """This process: one run after the other, where a debugger can look."""

    def submit(self, tasks: Sequence[CellTask]) -> HandedOver:
        """Run them all, and say how each ended. Raises CellFailed in the end if some failed."""
        failed = []
        with Interruption().watching() as interruption:
            for task in tasks:
                outcome = outcome_after(task, run_cell(task))
                interruption.obey()
                told = f"FAILED: {outcome.reason}" if outcome.failed else outcome.reason or "done"
                print(f"{task.label}  {task.config.train} seed {task.config.seed}  {told}", flush=True)
                failed += [task.label] if outcome.failed else []
        if failed:
            raise CellFailed(f"{len(failed)} of {len(tasks)} runs failed: {', '.join(failed)}")
        return HandedOver(f"{len(tasks)} runs were run in this process")


def run_tasks(tasks: Sequence[CellTask], jobs: int, devices: Sequence[str], visible: str | None, given_in: Path) -> int:
    """In the background process: run all where the command was given, tell each outcome; returns how many failed."""
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible

    with tolerant_streams(), working_in(given_in):
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
    hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    kept = {number: os.dup(number) for number in (0, 1, 2)}
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        for number in kept:
            os.dup2(nothing, number)
        with environment({"PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"}):
            yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
        os.close(nothing)
        signal.signal(signal.SIGHUP, hangup)
