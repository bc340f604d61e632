"""What runs of a head should ask for, by what runs of it took or are predicted to: lines for a file of resources."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.running.amounts import GIB, memory_step, time_step
from bench.running.spent import Spent

if TYPE_CHECKING:
    from bench.running.forecast import Forecast

TIME_MARGIN = 1.5
"""Of a time limit over the longest run: nodes differ, and what is cut off waits in the queue once more."""
MEMORY_MARGIN = 1.25
"""Of memory over the most that a run held: the same work takes about the same, but what takes more is killed."""
JOB_BYTES = GIB // 2
"""Of the process that watches a job's run, which the run itself does not see."""
CPU_MARGIN = 2.0
"""Of CPUs over those that were busy on average: images are decoded and ranks are counted in bursts."""

REASONS = (
    "half as much time again as the longest run, since nodes differ and what is cut off waits once more",
    "a quarter more memory than the most, and half a GiB for the job's own process, since what takes more is killed",
    "twice the CPUs that were busy on average, since they are busy in bursts; without a GPU none are named, since "
    "their number is in a run's id",
)
"""Of the margins, in this order: `TIME_MARGIN`, `MEMORY_MARGIN`, `CPU_MARGIN`."""


def fitting(runs: Sequence[Spent]) -> dict[str, str]:
    """What would have been enough for all of these runs, by the key of resources, as YAML writes its value.

    A key is lacking where nobody knows, or where a run's own account leaves something out.
    """
    found = {}
    finished = [run for run in runs if run.done]
    if finished and not any(run.lower_bound for run in finished):
        longest = max(run.seconds for run in finished)
        found["time"] = f'"{time_step(TIME_MARGIN * longest)}"'
    if finished and all(run.host_bytes is not None for run in finished):
        held = max(run.host_bytes or 0 for run in runs)
        found["memory"] = memory_step(MEMORY_MARGIN * held + JOB_BYTES)
    if finished and all(run.gpu_bytes is not None and run.cpu_seconds is not None for run in finished):
        busy = max(run.cpu_seconds / max(run.seconds, 1.0) for run in finished)
        found["cpus"] = str(max(1, math.ceil(CPU_MARGIN * busy)))
    return found


def predicted(forecasts: Sequence[Forecast], on_gpu: bool) -> dict[str, list[Spent]]:
    """What whole runs are predicted to take, by head, as if they had; those that could not be measured are left out."""
    heads: dict[str, list[Spent]] = {}
    for item in forecasts:
        if not item.note:
            spent = Spent(
                done=True,
                seconds=item.training + sum(item.tests.values()),
                host_bytes=item.host_bytes,
                gpu_bytes=item.device_bytes if on_gpu else None,
            )
            heads.setdefault(item.load.cell.config.head, []).append(spent)
    return heads


def commented(heads: Mapping[str, Sequence[Spent]]) -> list[str]:
    """Lines of a file for `bench run --resources`, one for each head of which enough is known; [] if there is none.

    They begin with what the margins are, and why.
    """
    lines = []
    for head, runs in heads.items():
        if not (values := fitting(runs)):
            continue
        held = [run.gpu_bytes for run in runs if run.gpu_bytes is not None]
        card = f"  # on a GPU of {memory_step(MEMORY_MARGIN * max(held) + JOB_BYTES)} or more" if held else ""
        lines.append(f"  {head}: {{{', '.join(f'{key}: {value}' for key, value in values.items())}}}{card}")
    told = ("# enough, rounded up; for a file to give as --resources FILE:", *(f"#   {reason}" for reason in REASONS))
    return [*told, "heads:", *lines] if lines else []
