"""Submitting cells to SLURM as job arrays, with Submitit."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import secrets
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError, FailedSubmissionError

from bench.environment import RUN_ENVIRONMENT
from bench.errors import UserError
from bench.running.cell import CellTask
from bench.running.jobs import JOB, ClusterSettings, Job, read_job, write_job
from slurm import queue
from slurm.arrays import JobArray, plan_arrays
from slurm.resources import Resources, ResourceTable, minutes_of
from slurm.snapshot import Snapshot, freeze, keep_head, snapshot_of
from slurm.worker import SIGNAL_SECONDS, run_job


class Submission:
    """Makes job arrays of cells and hands them to sbatch."""

    def __init__(self, settings: ClusterSettings, table: ResourceTable) -> None:
        self.settings, self._table = settings, table

    def scripts(self, tasks: Sequence[CellTask]) -> list[str]:
        """The sbatch scripts, each with the cells of its array."""
        snapshot, name = snapshot_of(self.settings.results), "bench-dry-run"
        found = []
        for number, array in enumerate(self._arrays(tasks)):
            executor = self._executor(array, snapshot, name, number, None)
            if len(array.tasks) > 1:
                executor.parameters["map_count"] = len(array.tasks)
            text = executor._make_submission_file_text(executor._submitit_command_str, "dry-run")
            cells = "\n".join(f"#   {place}: {task.cell}" for place, task in enumerate(array.tasks))
            waits = f"# waits for array {array.after + 1} to end\n" if array.after is not None else ""
            found.append(f"# array {number + 1}, its jobs:\n{cells}\n{waits}{text}")
        return found

    def submit(self, tasks: Sequence[CellTask]) -> str:
        """Submit arrays. Each cell's job.json is there before its job, so that no job is ever unknown.

        Raises UserError with SLURM's words where an array is refused; arrays submitted before it stay.
        """
        arrays = self._arrays(tasks)
        snapshot = freeze(self.settings.results)
        tasks = [dataclasses.replace(task, head=keep_head(task.head, snapshot.path)) for task in tasks]
        by_cell = {task.cell: task for task in tasks}
        name = f"bench-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        ids: list[str] = []
        for number, array in enumerate(arrays):
            array = dataclasses.replace(array, tasks=tuple(by_cell[task.cell] for task in array.tasks))
            after = ids[array.after] if array.after is not None else None
            executor = self._executor(array, snapshot, name, number, after)
            ids.append(self._submit_array(executor, array, ids))
        folder = self._folder(name)
        account = {"commit": snapshot.commit, "dirty": snapshot.dirty, "snapshot": str(snapshot.path), "jobs": ids}
        (folder / "submission.json").write_text(json.dumps(account, indent=1), encoding="utf-8")
        arrays_text = (
            f"{len(ids)} array{'s' if len(ids) > 1 else ''}, job{'s' if len(ids) > 1 else ''} {', '.join(ids)}"
        )
        return f"submitted {len(tasks)} runs ({arrays_text}), code frozen in {snapshot.path}"

    def _arrays(self, tasks: Sequence[CellTask]) -> list[JobArray]:
        return plan_arrays(tasks, self._table.of, queue.max_array_size(), self.settings.max_parallel)

    def _folder(self, name: str) -> Path:
        return self.settings.results.absolute() / "submissions" / name

    def _executor(
        self, array: JobArray, snapshot: Snapshot, name: str, number: int, after: str | None
    ) -> SlurmExecutor:
        resources = array.resources
        executor = SlurmExecutor(self._folder(name) / str(number), python=shlex.quote(sys.executable))
        executor.update_parameters(
            job_name=f"{name}-{number}",
            time=minutes_of(resources.time),
            cpus_per_task=resources.cpus,
            partition=resources.partition,
            account=resources.account,
            qos=resources.qos,
            constraint=resources.constraint,
            wckey=resources.wckey,  # Submitit would name one of its own
            signal_delay_s=resources.signal_seconds,
            dependency=f"afterany:{after}" if after is not None else None,
            array_parallelism=array.parallel,
            setup=_setup(resources, snapshot),
            # Since SLURM 22.05 srun does not take the CPUs of its job by itself.
            srun_args=[f"--cpus-per-task={resources.cpus}"],
            additional_parameters=resources.sbatch_options(),
        )
        return executor

    def _submit_array(self, executor: SlurmExecutor, array: JobArray, before: Sequence[str]) -> str:
        name, alone = executor.parameters["job_name"], len(array.tasks) == 1
        earlier = {task.cell: read_job(task.folder) for task in array.tasks}
        for place, task in enumerate(array.tasks):
            write_job(
                task.folder,
                Job(
                    cluster="slurm",
                    name=name,
                    index=None if alone else place,
                    folder=str(executor.folder),
                    submitted=time.time(),
                ),
            )
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # Submitit shows there what the error says again
                first = executor.map_array(run_job, array.tasks)[0]
        except (FailedJobError, FailedSubmissionError, OSError) as fault:
            for task in array.tasks:
                job = earlier[task.cell]
                if job is None:
                    (task.folder / JOB).unlink(missing_ok=True)
                else:
                    write_job(task.folder, job)
            done = f"; submitted before: {', '.join(before)}" if before else ""
            raise UserError(f"SLURM refuses: {_words(fault)}{done}") from fault
        return first.job_id.partition("_")[0]


def _setup(resources: Resources, snapshot: Snapshot) -> list[str]:
    variables = {
        "PYTHONPATH": str(snapshot.path),
        "PYTHONSAFEPATH": "1",
        SIGNAL_SECONDS: str(resources.signal_seconds),
        **RUN_ENVIRONMENT,
    }
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    # The user's commands come last, so that they can say otherwise.
    return [*exports, *resources.setup]


def _words(fault: Exception) -> str:
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    told = [line.partition("error: ")[2] for line in lines if "error: " in line]
    return "; ".join(told or lines[-2:])
