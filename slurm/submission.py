"""Submitting cells to SLURM as job arrays, with Submitit."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.errors import UserError
from bench.journal.starts import read_starts
from bench.running.jobs import JOB, ClusterSettings, HandedOver, Job, read_job, write_job
from bench.running.nodes import all_starts, bad_nodes, left_out
from bench.running.submitted import Account, write_account
from bench.running.task import CellTask
from slurm import queue
from slurm.arrays import JobArray, plan_arrays
from slurm.asking import Busy
from slurm.executor import PatientExecutor, is_limit
from slurm.folder import HERE, entered, environment, submission_folder
from slurm.memory import with_enough_memory
from slurm.partition import Partitions
from slurm.resources import Resources, minutes_of
from slurm.script import before_run, python_of
from slurm.snapshot import Snapshot, freeze, keep_head, snapshot_of
from slurm.table import ResourceTable
from slurm.worker import run_job

OF_ANOTHER_JOB = ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT")
"""What a job would take for its own where `bench run` is given inside of another job, since sbatch passes it on."""


class Submission:
    """Makes job arrays of cells and hands them to sbatch."""

    def __init__(self, settings: ClusterSettings, table: ResourceTable) -> None:
        self._table, self._max_parallel = table, settings.max_parallel
        self._results, self._given_in = settings.results.absolute(), Path.cwd()

    def scripts(self, tasks: Sequence[CellTask]) -> list[str]:
        """The sbatch scripts, each with the cells of its array."""
        snapshot, name = snapshot_of(self._results), "bench-dry-run"
        found = []
        for number, array in enumerate(self._arrays(tasks)):
            executor = self._executor(array, snapshot, name, number, None, HERE)
            if len(array.tasks) > 1:
                executor.parameters["map_count"] = len(array.tasks)
            text = executor._make_submission_file_text(executor._submitit_command_str, "dry-run")
            cells = "\n".join(f"#   {place}: {task.cell}" for place, task in enumerate(array.tasks))
            waits = f"# waits for array {array.after + 1} to end\n" if array.after is not None else ""
            words = dict.fromkeys(self._table.time_words(task, array.resources) for task in array.tasks)
            asked = f"# memory {array.resources.memory or 'not limited'}, {'; '.join(words)}\n"
            found.append(f"# array {number + 1}, its jobs:\n{cells}\n{waits}{asked}{text}")
        return found

    def submit(self, tasks: Sequence[CellTask]) -> HandedOver:
        """Submit arrays. Each cell's job.json is there before its job, so that no job is ever unknown.

        Where SLURM lets the user have no more jobs, an array is submitted in parts as far as there is room. Raises
        UserError with SLURM's words where an array is refused for another reason; arrays submitted before it stay.
        """
        arrays = self._arrays(tasks)
        snapshot = freeze(self._results)
        frozen = {task.cell: dataclasses.replace(task, head=keep_head(task.head, snapshot.path)) for task in tasks}
        name = f"bench-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        under_way, folder = _UnderWay(snapshot, name), self._folder(name)
        account = Account(commit=snapshot.commit, dirty=snapshot.dirty, snapshot=str(snapshot.path))
        _begin(folder, account)
        for array in arrays:
            array = dataclasses.replace(array, tasks=tuple(frozen[task.cell] for task in array.tasks))
            self._submit_parts(array, under_way)
        ids = under_way.all_ids
        if not ids:
            shutil.rmtree(folder, ignore_errors=True)  # who waits for room tries often
            if under_way.left and not any(entry.active for entry in queue.queue().values()):
                raise UserError(under_way.why)  # not for want of room: nobody else has it
        else:
            # For people who look; jobs that are submitted must not look refused because it could not be written.
            with contextlib.suppress(OSError):
                write_account(folder, account.model_copy(update={"jobs": ids}))
        s = "s" if len(ids) > 1 else ""
        count = len(tasks) - len(under_way.left)
        said = f"submitted {count} runs ({len(ids)} array{s}, job{s} {', '.join(ids)}), code frozen in {snapshot.path}"
        return HandedOver(said if ids else "", tuple(under_way.left), under_way.why)

    def _submit_parts(self, array: JobArray, under_way: _UnderWay) -> None:
        """Submit an array at once, or, where there is no room for it, in parts that fit."""
        after = under_way.ids[array.after][-1] if array.after is not None and under_way.ids[array.after] else None
        mine: list[str] = []
        under_way.ids.append(mine)
        waiting, size = list(array.tasks), len(array.tasks)
        full = array.resources.counted_by in under_way.full
        while waiting and not full:
            part = dataclasses.replace(array, tasks=tuple(waiting[:size]))
            try:
                mine.append(self._submit_array(part, under_way, after))
            except _NoRoom as fault:
                under_way.why, full, size = str(fault), size == 1, max(1, size // 2)
                continue
            waiting = waiting[size:]
            # Parts share what the array may run at a time, so each waits for the one before it.
            after = mine[-1] if self._max_parallel is not None else after
        if full:
            under_way.full.add(array.resources.counted_by)
        under_way.left += waiting

    def _arrays(self, tasks: Sequence[CellTask]) -> list[JobArray]:
        bad, partitions = bad_nodes(all_starts(self._results), time.time()), Partitions()

        def resources_of(task: CellTask) -> Resources:
            """What a run asks for, after how its earlier starts, and those of others, went."""
            resources = with_enough_memory(self._table.for_task(task), read_starts(task.folder))
            return partitions.kept_off(resources, left_out(task.cell, bad))

        return plan_arrays(tasks, resources_of, queue.max_array_size(), self._max_parallel)

    def _folder(self, name: str) -> Path:
        return submission_folder(self._results, name)

    def _executor(
        self, array: JobArray, snapshot: Snapshot, name: str, number: int, after: str | None, here: Path
    ) -> PatientExecutor:
        """Submitit's executor, which is to be used while `here` is the working folder."""
        resources = array.resources
        executor = PatientExecutor(here, python_of(resources))
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
            setup=before_run(resources, snapshot.path, self._folder(name) / str(number), self._given_in),
            # The task's output goes where the script's own goes. Since SLURM 22.05 srun does not take the CPUs of its
            # job by itself.
            srun_args=["--output=all", "--error=all", f"--cpus-per-task={resources.cpus}", *resources.srun],
            additional_parameters={**resources.sbatch_options(), "output": os.devnull, "error": os.devnull},
        )
        return executor

    def _submit_array(self, array: JobArray, under_way: _UnderWay, after: str | None) -> str:
        number, alone = under_way.next_number(), len(array.tasks) == 1
        folder, name = self._folder(under_way.name) / str(number), f"{under_way.name}-{number}"
        earlier = {task.cell: read_job(task.folder) for task in array.tasks}
        try:
            for place, task in enumerate(array.tasks):
                index = None if alone else place
                job = Job(
                    cluster="slurm",
                    name=name,
                    index=index,
                    folder=str(folder),
                    submitted=time.time(),
                    asked=array.resources.asked,
                )
                write_job(task.folder, job)
            with entered(folder) as here, environment(dict.fromkeys(OF_ANOTHER_JOB)):
                executor = self._executor(array, under_way.snapshot, under_way.name, number, after, here)
                first = executor.map_array(run_job, array.tasks, [self._given_in] * len(array.tasks))[0]
        except (UserError, RuntimeError, OSError, UnicodeError) as fault:
            words = _words(fault, folder)
            if isinstance(fault, Busy) and not is_limit(str(fault)):
                # It may have arrived all the same, and is known by its name if it has.
                raise UserError(f"{words}; whether the jobs have arrived `bench status` will tell") from fault
            _restore(array.tasks, earlier)
            if is_limit(str(fault)):
                shutil.rmtree(folder, ignore_errors=True)
                raise _NoRoom(words) from fault
            before = ", ".join(under_way.all_ids)
            raise UserError(f"{words}; submitted before: {before}" if before else words) from fault
        return first.job_id.partition("_")[0]


class _NoRoom(UserError):
    """SLURM lets the user have no more jobs."""


@dataclasses.dataclass
class _UnderWay:
    """A submission under way."""

    snapshot: Snapshot
    name: str
    ids: list[list[str]] = dataclasses.field(default_factory=list)
    """SLURM's ids of the parts of each array."""
    left: list[CellTask] = dataclasses.field(default_factory=list)
    full: set[tuple[str | None, ...]] = dataclasses.field(default_factory=set)
    """What has no room left, as `Resources.counted_by` names it."""
    why: str = ""
    numbers: Iterator[int] = dataclasses.field(default_factory=itertools.count)

    @property
    def all_ids(self) -> list[str]:
        return [identity for parts in self.ids for identity in parts]

    def next_number(self) -> int:
        """Each call of sbatch has a number, and so a folder and a name of its own."""
        return next(self.numbers)


def _begin(folder: Path, account: Account) -> None:
    try:
        write_account(folder, account)
    except OSError as fault:
        raise UserError(f"cannot submit: {folder}: {fault.strerror or fault}") from fault


def _restore(tasks: Sequence[CellTask], earlier: Mapping[str, Job | None]) -> None:
    """Take back what job.json said of jobs that came to nothing, as far as the disk lets it."""
    for task in tasks:
        job = earlier[task.cell]
        with contextlib.suppress(OSError):
            if job is None:
                (task.folder / JOB).unlink(missing_ok=True)
            else:
                write_job(task.folder, job)


def _words(fault: Exception, folder: Path) -> str:
    if isinstance(fault, OSError):
        return f"cannot submit: {folder}: {fault.strerror or fault}"
    if not isinstance(fault, UserError):
        return f"cannot submit: {fault}"
    told = [part.partition("error: ")[2].strip() for part in str(fault).split("; ") if "error: " in part]
    return f"SLURM refuses: {'; '.join(told)}" if told and not isinstance(fault, Busy) else str(fault)
