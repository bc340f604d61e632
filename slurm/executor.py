"""Submitit's SLURM executor, which insists where SLURM is too busy, and never submits the same jobs twice."""

from __future__ import annotations

import shlex
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from submitit import SlurmExecutor
from submitit.core.core import Job
from submitit.core.utils import DelayedSubmission, FailedSubmissionError, JobPaths

from slurm.asking import Busy, ask, insist_seconds, tell

SBATCH_PATIENCE = 45.0
"""Seconds that sbatch may take; it has time limits and tries of its own."""
SETTLING_SECONDS = 4.0
"""A controller that answers again may still be at submissions that it got before: how long until the second look."""

LIMITS = ("submitjob", "job submit limit", "unable to accept job")
"""What sbatch says where there are as many jobs as there may be: of an association or a QOS, or of all users."""


class PatientExecutor(SlurmExecutor):
    """Submits one array, or one job, under a name that no other submission has."""

    def __init__(self, folder: Path, python: str) -> None:
        """`python` is the command that runs a job's Python, in the shell's words."""
        super().__init__(folder, python=python)

    @property
    def _submitit_command_str(self) -> str:
        """As Submitit's, but a signal that comes while the job still imports waits for `slurm.worker`."""
        words = "-u -m bench.system.held_start submitit.core._submit"
        return f"{self.python} {words} {shlex.quote(str(self.folder))}"

    def _internal_process_submissions(self, delayed_submissions: list[DelayedSubmission]) -> list[Job]:
        """As Submitit's, but for how sbatch is called."""
        folder = JobPaths.get_first_id_independent_folder(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        pickles = []
        for delayed in delayed_submissions:
            delayed.set_timeout(self.parameters["time"], self.max_num_timeout)
            pickles.append(folder / f"{uuid.uuid4().hex}.pkl")
            delayed.dump(pickles[-1])
        count = len(pickles)
        if count > 1:
            self.parameters["map_count"] = count
        script = folder / f"submission-{uuid.uuid4().hex}.sh"
        script.write_text(self._make_submission_file_text(self._submitit_command_str, script.stem), encoding="utf-8")
        identity = submit_once(script, self.parameters["job_name"])
        script.rename(folder / f"{identity}_submission.sh")
        jobs = [
            self.job_class(self.folder, identity if count == 1 else f"{identity}_{place}", [0])
            for place in range(count)
        ]
        for job, pickle in zip(jobs, pickles, strict=True):
            job.paths.move_temporary_file(pickle, "submitted_pickle")
        return jobs


def submit_once(script: Path, name: str) -> str:
    """Submit a script whose jobs have a name that no others have; returns the id that sbatch gives.

    Where SLURM is too busy to answer, nobody knows whether the script has arrived: it is looked up by its name before
    it is sent again. Raises UserError with SLURM's words, Busy if it was too busy all the time.
    """
    end, again = time.monotonic() + insist_seconds(), False
    while True:
        try:
            identity = _identity(ask("sbatch", str(script), patience=SBATCH_PATIENCE, insist=0.0))
        except Busy as fault:
            if is_limit(str(fault)):
                raise
            tell(f"{fault}; looking whether the jobs have arrived")
            found = _arrived(name)
            if found:
                return found[0]
            if time.monotonic() > end:
                raise
            again = True
        else:
            twins = [other for other in _arrived(name) if other != identity] if again else []
            if twins:  # the first one was on its way for longer than anybody would wait
                ask("scancel", *twins)
            return identity


def is_limit(said: str) -> bool:
    """Whether these words of sbatch mean that the user, or the cluster, has as many jobs as there may be."""
    return any(words in said.lower() for words in LIMITS)


def _arrived(name: str) -> Sequence[str]:
    """The ids of the jobs or arrays of this name, looked for twice: the last question may still be on its way."""
    for pause in (0.0, SETTLING_SECONDS):
        time.sleep(pause)
        told = ask("squeue", "--states=all", "--noheader", f"--name={name}", "--format=%F").split()
        if told:
            return sorted(set(told), key=int)
    return ()


def _identity(said: str) -> str:
    try:
        return SlurmExecutor._get_job_id_from_submission_command(said)
    except FailedSubmissionError as fault:
        raise RuntimeError(f"sbatch answers {said!r}, which names no job") from fault
