"""Handing cells to a cluster: only those that lack results, each to one submitter."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.journal.heartbeat import this_host
from bench.journal.record import Started, read_record, write_started
from bench.running.deaths import note_death
from bench.running.jobs import HandedOver
from bench.running.ledger import Ledger
from bench.running.submitted import SUBMISSIONS
from bench.running.task import CellTask
from bench.system.locks import try_lock

FIRST_PAUSE, LONGEST_PAUSE = 15.0, 120.0
"""Seconds between two looks whether a cluster takes more jobs."""


@dataclass(frozen=True)
class Sorted:
    """Tasks by what is to happen to them."""

    finished: list[CellTask]
    busy: list[CellTask]
    """Queued or running: nobody may submit them again."""
    open: list[CellTask]
    unreadable: list[str]
    """Why it cannot be told of some tasks what is to happen to them."""
    untrained: list[CellTask] = dataclasses.field(default_factory=list)
    """Not trained, where tasks only test again."""


def absolute(task: CellTask) -> CellTask:
    """The task with paths that mean the same wherever it runs."""
    weights = task.weights_file.absolute() if task.weights_file is not None else None
    head = str(Path(task.head).absolute()) if task.head.endswith(".py") else task.head
    return dataclasses.replace(
        task,
        results=task.results.absolute(),
        data_dir=task.data_dir.absolute(),
        weights_file=weights,
        head=head,
        splits=tuple(path.absolute() for path in task.splits),
        own={name: path.absolute() for name, path in task.own.items()},
    )


def sort_tasks(tasks: Sequence[CellTask], ledger: Ledger) -> Sorted:
    """Which tasks are to be submitted. Rows that come to the same configuration are one task."""
    sorted_tasks = Sorted([], [], [], [])
    for task in {task.cell: task for task in tasks}.values():
        state = ledger.state_of_folder(task.folder)
        if state.busy:
            sorted_tasks.busy.append(task)
            continue
        if state.kind == "unreadable":
            sorted_tasks.unreadable.append(state.reason)
            continue
        record = read_record(task.folder)
        if task.has_nothing_to_test(record):
            sorted_tasks.untrained.append(task)
        elif task.is_finished(record):
            sorted_tasks.finished.append(task)
        else:
            sorted_tasks.open.append(task)
    return sorted_tasks


def submit_open(
    tasks: Sequence[CellTask],
    ledger: Callable[[], Ledger],
    results: Path,
    submit: Callable[[Sequence[CellTask]], HandedOver],
) -> tuple[Sorted, HandedOver]:
    """Submit what is open, while nobody else submits to these results; returns also what `submit` did.

    Raises UserError where another process submits, or nobody can tell what is queued.
    """
    with submission_lock(results):
        book = ledger()
        sorted_tasks = sort_tasks(tasks, book)
        if book.notes:
            raise UserError(f"{book.notes[0]}; nothing was submitted, since runs that are queued could not be told")
        for task in sorted_tasks.open:
            task.folder.mkdir(parents=True, exist_ok=True)
            write_started(task.folder, Started(label=task.label, config=task.config, numerics=task.numerics))
            state = book.state_of_folder(task.folder)
            if state.ended and state.job is not None:
                note_death(task.folder, state.job, state.ended)
        return sorted_tasks, submit(sorted_tasks.open) if sorted_tasks.open else HandedOver("")


def submit_as_room_comes(
    once: Callable[[], tuple[Sorted, HandedOver]], tell: Callable[[Sorted, HandedOver], None]
) -> Sorted:
    """Call `once`, which is `submit_open`, until nothing is left for want of room; `tell` is told what came of it.

    Between two calls it waits, the longer the less room there was. Returns how the tasks were sorted in the end.
    """
    pause = FIRST_PAUSE
    while True:
        found, handed = once()
        if handed.said or not handed.left:
            tell(found, handed)
        if not handed.left:
            return found
        pause = FIRST_PAUSE if handed.said else min(2 * pause, LONGEST_PAUSE)
        time.sleep(pause)


@contextmanager
def submission_lock(results: Path) -> Iterator[None]:
    """Nobody else submits to a results folder, or sweeps it, during the block. Raises UserError if somebody does."""
    folder = results / SUBMISSIONS
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        if not try_lock(file.fileno()):
            raise UserError(
                f"another `bench run` is submitting to {results}, or `bench clean` sweeps it ({_holder(folder)}); try "
                "again when it has finished"
            )
        holder = {"pid": os.getpid(), "host": this_host(), "since": time.strftime("%H:%M:%S")}
        file.truncate(0)
        file.write(json.dumps(holder))
        file.flush()
        yield


def _holder(folder: Path) -> str:
    try:
        holder = json.loads((folder / ".lock").read_text())
        return f"process {holder['pid']} on {holder['host']}, since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "it has only just begun"
