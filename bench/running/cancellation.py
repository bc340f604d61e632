"""Ending the jobs of cells, and telling which cells go on all the same, since something else runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from bench.errors import UserError
from bench.journal.heartbeat import Heartbeat, read_heartbeat
from bench.running.identity import Process, descends_from
from bench.running.jobs import Job, JobPlace, Scheduler, write_job
from bench.running.ledger import CellState


@dataclass
class Cancelled:
    """What came of it: how many cells end, and a sentence for each that does not."""

    cells: int = 0
    going_on: list[str] = field(default_factory=list)


def cancel(states: Iterable[CellState], scheduler_of: Callable[[str], Scheduler]) -> Cancelled:
    """End the jobs of those cells that are busy. `scheduler_of` a cluster's name is asked only for jobs that it has."""
    busy = list({state.folder: state for state in states if state.busy}.values())
    outcome = Cancelled()
    for name in ("local", "slurm"):
        chosen = [state for state in busy if state.job is not None and state.job.cluster == name]
        # Looked at before anything ends.
        runners = [_runner(state, state.job) for state in chosen]
        try:
            ended = scheduler_of(name).cancel([state.job for state in chosen]) if chosen else {}
        except UserError as fault:
            outcome.going_on.append(str(fault))
            continue
        for state, runner in zip(chosen, runners, strict=True):
            _settle(state, state.job, runner, ended, outcome)
    for state in busy:
        if state.job is None:
            outcome.going_on.append(f"{state.folder.name} runs in a terminal of its own: end it there with Ctrl-C")
    return outcome


def _settle(
    state: CellState, job: Job, runner: Heartbeat | None, ended: Mapping[JobPlace, str], outcome: Cancelled
) -> None:
    identity, name = ended.get(job.place), state.folder.name
    if identity is not None:
        write_job(state.folder, job.model_copy(update={"cancelled": True}))
    if runner is not None and (job.cluster == "local" or runner.job != identity):
        who = f"process {runner.pid} on {runner.host}" + (f", SLURM job {runner.job}," if runner.job else "")
        what = f"job {identity} is cancelled, but" if identity is not None else "it goes on:"
        outcome.going_on.append(f"{name}: {what} {who} has taken the run over; end it there")
    elif identity is not None:
        outcome.cells += 1
    elif job.process is not None and job.process.lives is None:
        outcome.going_on.append(f"{name} was submitted on {job.process.host}: give the same command there")
    else:
        outcome.going_on.append(f"{name}: its job has just ended, or is another user's; see `bench status`")


def _runner(state: CellState, job: Job) -> Heartbeat | None:
    """The process that runs a cell, where it has told of itself since the job was submitted.

    Of a local submission, only one that the submission has not started; SLURM's are told by the id of their job.
    """
    heartbeat = read_heartbeat(state.folder)
    told = heartbeat is not None and heartbeat.state == "running" and heartbeat.updated > job.submitted
    if not told or state.kind != "running" or state.entry is not None:
        return None
    return None if job.process is not None and _is_of(heartbeat, job.process) else heartbeat


def _is_of(runner: Heartbeat, submission: Process) -> bool:
    """Whether a submission started the process that runs a cell; believed where only another host could tell."""
    lives = submission.lives
    return runner.host == submission.host and (lives is None or (lives and descends_from(runner.pid, submission.pid)))
