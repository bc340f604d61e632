"""Which nodes of a cluster cannot run what they are given, as far as runs tell: by what they say, and by how they fare
elsewhere."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.journal.record import cell_folders
from bench.journal.starts import Start, read_starts

OWN_FAULT = 3
"""A run that fails alike on this many nodes, and works on none, does not fail because of a node."""
FOR_ALL = 3
"""Starts that a node has failed, after which no run is sent there."""
REMEMBERED_DAYS = 7
"""For how long a node is left out; by then somebody may have mended it."""

_WORDS = re.compile(
    r"no cuda-capable device|no cuda gpus are available|cuda driver initialization failed|cuda unknown error|"
    r"cuda initialization error|devices? (?:is|are) busy or unavailable|another process has it to itself|"
    r"fallen off the bus|gpu is lost|uncorrectable (?:ecc|nvlink)|\bxid\b|system not yet initialized|"
    r"driver/library version mismatch|no nvidia driver|driver is too old|no gpu is shown|there is no such gpu|"
    r"its memory is full, of other processes|no such device|bus error|sigbus|input/output error|"
    r"stale file handle|read-only file system|transport endpoint is not connected|host is down|"
    r"structure needs cleaning|cannot open shared object file|modulenotfounderror|importerror",
    re.IGNORECASE,
)


def lies_with_node(words: str) -> bool:
    """Whether what a run says of its failure may lie with its node: a GPU that is gone, a disk that does not answer.

    Another node tells: if the run works there, it did.
    """
    return _WORDS.search(words) is not None


@dataclass(frozen=True)
class BadNode:
    """A node, and the starts that it failed, oldest first, each with the run's name."""

    name: str
    failed: tuple[tuple[str, Start], ...]

    @property
    def for_all(self) -> bool:
        """Whether no run is sent there any more."""
        return len(self.failed) >= FOR_ALL

    def __str__(self) -> str:
        cell, last = self.failed[-1]
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(last.ended or last.began))
        count = f"{len(self.failed)} starts" if len(self.failed) > 1 else "1 start"
        whose = "of all runs" if self.for_all else "of those runs"
        why = last.reason or "it died without a word, and works elsewhere"
        return (
            f"node {self.name} failed {count}, the last at {when} ({cell}: {why}); the next starts {whose} are kept "
            f"off it for {REMEMBERED_DAYS} days, or until it runs another"
        )


def all_starts(results: Path) -> dict[str, list[Start]]:
    """The starts of all runs below a results folder, by run."""
    found = ((folder.name, read_starts(folder)) for folder in cell_folders(results))
    return {name: starts for name, starts in found if starts}


def bad_nodes(starts: Mapping[str, Sequence[Start]], now: float) -> list[BadNode]:
    """The nodes that failed runs and have run none since, by name. `now` is in seconds since 1970."""
    worked: dict[str, float] = {}
    for start in _all(starts):
        if start.worked and start.how not in ("node", "died", ""):
            worked[start.node] = max(worked.get(start.node, 0.0), start.began)
    # What a run says on any node, another one may say that was on one only.
    own_faults = {start.reason for own in starts.values() if fails_anywhere(own) for start in own}
    failed: dict[str, list[tuple[str, Start]]] = {}
    for cell, own in starts.items():
        for start in _failed_by_nodes(own):
            known = start.reason in own_faults or now - start.began > REMEMBERED_DAYS * 86400
            if not known and worked.get(start.node, 0.0) <= start.began:
                failed.setdefault(start.node, []).append((cell, start))
    ordered = {name: sorted(runs, key=lambda run: run[1].began) for name, runs in sorted(failed.items())}
    return [BadNode(name, tuple(runs)) for name, runs in ordered.items()]


def fails_anywhere(own: Sequence[Start]) -> bool:
    """Whether a run failed on so many nodes, and has worked on none since, that it is its own fault."""
    said = [start for start in own if start.how == "node"]
    return len({start.node for start in said}) >= OWN_FAULT and not _works_elsewhere(said[-1], own)


def left_out(cell: str, bad: Iterable[BadNode]) -> list[str]:
    """The nodes that a run's next start is kept off, by name."""
    return sorted(node.name for node in bad if node.for_all or any(name == cell for name, _ in node.failed))


def _failed_by_nodes(own: Sequence[Start]) -> list[Start]:
    """Of a run's starts, those that failed because of their nodes, as far as this run tells."""
    said = [start for start in own if start.how == "node"]
    silent = [start for start in own if start.how == "died" and not start.worked and _works_elsewhere(start, own)]
    return said + silent


def _works_elsewhere(failed: Start, own: Sequence[Start]) -> bool:
    return any(start.worked and start.node != failed.node and start.began > failed.began for start in own)


def _all(starts: Mapping[str, Sequence[Start]]) -> Iterable[Start]:
    return (start for own in starts.values() for start in own)
