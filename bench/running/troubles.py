"""What keeps queued runs from starting, and which nodes cannot run them: sentences that say what to do."""

from __future__ import annotations

import time
from collections.abc import Collection

from bench.running.ledger import CellState, Ledger
from bench.running.nodes import all_starts, bad_nodes

LAUNCH_FAILED = "launch failed requeued held"
_AGAIN = "`bench cancel` and `bench run` with the same choice of runs submit it anew"
_VAIN = {
    LAUNCH_FAILED: f"its node could not start it, since a prolog failed there, and SLURM holds it: {_AGAIN}",
    "JobHeldAdmin": f"an administrator, or SLURM itself, holds it: ask why, or {_AGAIN}",
    "JobHeldUser": "it is held: scontrol release lets it go on",
    "BadConstraints": f"no node that it may have has what it asks for: {_AGAIN}, with other resources",
    "DependencyNeverSatisfied": f"it waits for a job that will not end as it has to: {_AGAIN}",
}
"""SLURM's reasons for which a job waits in vain, in words of use."""


def troubles(states: Collection[CellState], book: Ledger) -> list[str]:
    """A line for each run that is queued again to ask for something else, or waits in vain, and each node that failed
    runs."""
    lines, launch_failed = [], False
    for state in dict.fromkeys(states):
        if state.kind not in ("queued", "preempted") or state.entry is None:
            continue
        if state.reason:
            lines.append(f"queued again: {state.folder.name}: {state.reason}")
        reason = state.entry.reason.replace("_", " ")
        if reason in _VAIN:
            launch_failed |= reason == LAUNCH_FAILED
            lines.append(f"waits in vain: {state.folder.name} (job {state.entry.id}, SLURM: {reason}): {_VAIN[reason]}")
    if launch_failed:
        lines += [f"node {name} is out of use (SLURM: {why})" for name, why in sorted(book.drained.items())]
    return lines + [str(node) for node in bad_nodes(all_starts(book.results), time.time())]
