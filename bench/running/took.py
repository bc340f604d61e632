"""How long runs took that differ in nothing but their seed, and were made on machines that were asked for alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.config import CellConfig
from bench.journal.heartbeat import read_heartbeat
from bench.journal.reading import Unreadable
from bench.journal.record import cell_folders, read_started
from bench.running.amounts import time_step
from bench.running.fitting import TIME_MARGIN
from bench.running.jobs import Asked, read_job

if TYPE_CHECKING:
    from bench.running.task import CellTask


@dataclass(frozen=True)
class _Ended:
    """A finished run: how long it took, on what its job asked for, and what it was tested on."""

    seconds: float
    asked: Asked
    tests: frozenset[str]


@dataclass
class Took:
    """What the finished runs of results folders took, each read once."""

    _known: dict[Path, Mapping[str, list[_Ended]]] = field(default_factory=dict)

    def longest(self, task: CellTask, asked: Asked) -> float | None:
        """Seconds of the longest run like a task that is to ask for `asked`; None where none has been made.

        A speed that was measured on other nodes says nothing of those that will run it.
        """
        if task.results not in self._known:
            self._known[task.results] = _ended(task.results)
        alike = [
            run.seconds
            for run in self._known[task.results].get(_key(task.config, task.numerics), ())
            if _machine(run.asked) == _machine(asked) and run.tests >= set(task.tests)
        ]
        return max(alike, default=None)

    def time_to_ask_for(self, task: CellTask, asked: Asked) -> str | None:
        """The time of the longest run like a task, with a margin, as sbatch takes it; None where it is not known."""
        longest = self.longest(task, asked)
        return None if longest is None else time_step(TIME_MARGIN * longest)


def _ended(results: Path) -> Mapping[str, list[_Ended]]:
    found: dict[str, list[_Ended]] = {}
    for folder in cell_folders(results):
        try:
            started, job = read_started(folder), read_job(folder)
        except Unreadable:
            continue  # a run that does not say what it is of predicts nothing
        heartbeat = read_heartbeat(folder)
        if started is None or job is None or job.asked is None or heartbeat is None:
            continue
        if heartbeat.state == "done" and heartbeat.usage is not None:
            ended = _Ended(heartbeat.usage.seconds, job.asked, frozenset(heartbeat.tests))
            found.setdefault(_key(started.config, started.numerics), []).append(ended)
    return found


def _key(config: CellConfig, numerics: Mapping[str, int]) -> str:
    return f"{config.model_dump_json(exclude={'seed'})} {sorted(numerics.items())}"


def _machine(asked: Asked) -> Asked:
    """What tells one kind of machine from another, of what a job asks for."""
    return asked.model_copy(update={"seconds": 0, "host_bytes": None})
