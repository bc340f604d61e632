"""The SLURM cluster as `bench` sees it. Asking it imports neither torch nor Submitit; submitting does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from bench.running.jobs import Accounted, Called, ClusterSettings, HandedOver, Job, JobPlace, Queue
from slurm import queue
from slurm.accounts import accounts
from slurm.gpus import USUAL, precision_of
from slurm.resources import Resources
from slurm.table import ResourceTable

if TYPE_CHECKING:
    from bench.running.targets import Target
    from bench.running.task import CellTask
    from slurm.submission import Submission


class SlurmCluster:
    """The cluster that SLURM's commands on this machine speak to."""

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings, self._table = settings, ResourceTable(settings.resources, settings.overrides, settings.names)

    def target(self, run: Called) -> Target:
        """What the resources say. What `auto` precision means follows from the kind of GPU that they name."""
        from bench.running.targets import Target

        resources = self._table.of(run)
        if not resources.gpus:
            return Target("cpu", "fp32", resources.cpus)
        precision = precision_of(resources.gpu_type)
        return Target(
            "cuda", precision or USUAL, resources.cpus, assumption="" if precision else _assumption(resources)
        )

    def queue(self) -> Queue:
        """This user's jobs."""
        return queue.queue()

    def ends(self, jobs: Sequence[Job]) -> Mapping[JobPlace, str]:
        """How forgotten jobs ended, where SLURM keeps accounts."""
        return queue.ends(jobs)

    def accounts(self, jobs: Sequence[Job]) -> Mapping[JobPlace, Accounted]:
        """What jobs took, from SLURM's accounts. Raises UserError where it keeps none."""
        return accounts(jobs)

    def drained(self) -> Mapping[str, str]:
        """Nodes that SLURM has taken out of use, and why."""
        return queue.drained()

    def cancel(self, jobs: Sequence[Job]) -> Mapping[JobPlace, str]:
        """End those that wait or run."""
        return queue.cancel(jobs)

    def scripts(self, tasks: Sequence[CellTask]) -> list[str]:
        """The sbatch scripts, each with the cells of its array."""
        return self._submission.scripts(tasks)

    def submit(self, tasks: Sequence[CellTask]) -> HandedOver:
        """Submit arrays, as far as there is room. Raises UserError with SLURM's words where one is refused."""
        return self._submission.submit(tasks)

    @cached_property
    def _submission(self) -> Submission:
        from slurm.submission import Submission

        return Submission(self._settings, self._table)


def _assumption(resources: Resources) -> str:
    kind = f"gpu_type={resources.gpu_type} is no kind that is known" if resources.gpu_type else "no gpu_type is named"
    return (
        f"{kind}, so training.precision=auto is taken to be {USUAL}; a job that comes to a GPU without it fails at "
        "once, and says what to set"
    )
