"""Which cells go together into which job array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.running.task import CellTask
from slurm.resources import Resources


@dataclass(frozen=True)
class JobArray:
    """Jobs that ask for the same; `parallel` of them may run at a time, once the array number `after` has ended."""

    resources: Resources
    tasks: tuple[CellTask, ...]
    parallel: int
    after: int | None = None


def plan_arrays(
    tasks: Sequence[CellTask],
    resources_of: Callable[[CellTask], Resources],
    array_size: int,
    max_parallel: int | None = None,
) -> list[JobArray]:
    """One array for each class of resources, split into arrays of at most `array_size` jobs.

    All arrays together never run more than `max_parallel` jobs at a time: the arrays share that number; those that get
    no share wait for another to end.
    """
    classes: dict[str, list[CellTask]] = {}
    for task in tasks:
        classes.setdefault(resources_of(task).model_dump_json(), []).append(task)
    parts = [
        (Resources.model_validate_json(key), tuple(members[start : start + array_size]))
        for key, members in classes.items()
        for start in range(0, len(members), array_size)
    ]
    shares = _shares([len(members) for _, members in parts], max_parallel)
    lanes = len(parts) if max_parallel is None else max_parallel
    return [
        JobArray(resources, members, share, number - lanes if number >= lanes else None)
        for number, ((resources, members), share) in enumerate(zip(parts, shares, strict=True))
    ]


def _shares(sizes: Sequence[int], total: int | None) -> list[int]:
    """Jobs at a time of each array: at least one, at most its size, `total` together if that is enough for all."""
    if total is None:
        return list(sizes)
    shares = [1] * len(sizes)
    for _ in range(total - len(sizes)):
        # The next goes to the array that has the most jobs for each that may run.
        open_arrays = [number for number, size in enumerate(sizes) if shares[number] < size]
        if not open_arrays:
            break
        neediest = max(open_arrays, key=lambda number: sizes[number] / shares[number])
        shares[neediest] += 1
    return shares
