"""Memory of the machine as SLURM writes it, and how much of it a run's next start asks for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.journal.starts import Start

if TYPE_CHECKING:
    from slurm.resources import Resources

MIB = 2**20

GROWTH = 1.5
"""Of what the next start asks for over what was too little."""
MOST = 4
"""Times what was asked for at first, up to which that may grow where nobody says how far."""

_UNITS = {"K": 2**10, "M": MIB, "G": 2**30, "T": 2**40}


def bytes_of(text: str | None) -> int | None:
    """Bytes of an amount as sbatch takes it, such as 32G, or 500 for MiB; None where none is limited or named.

    0 is all that a node has, which nobody knows here.
    """
    found = re.fullmatch(r"(\d+)([KMGT]?)B?", (text or "").strip().upper())
    if found is None or not int(found[1]):
        return None
    return int(found[1]) * _UNITS[found[2] or "M"]


def as_slurm_takes_it(size: int) -> str:
    """Bytes, rounded up to whole MiB."""
    return f"{-(-size // MIB)}M"


def most_bytes(resources: Resources) -> int | None:
    """How much a run of these resources may ask for in the end; None where they do not say."""
    asked = bytes_of(resources.memory)
    return bytes_of(resources.most_memory) or (MOST * asked if asked is not None else None)


def most_after(starts: Sequence[Start]) -> int | None:
    """How much a run may ask for in the end that named no memory: by the least that it had; None where it had all."""
    had = [start.memory_bytes for start in starts if start.memory_bytes]
    return MOST * min(had) if had else None


def with_enough_memory(resources: Resources, starts: Sequence[Start]) -> Resources:
    """The resources with half as much memory again as was too little before, up to their bound."""
    too_little = [start.memory_bytes for start in starts if start.how == "memory" and start.memory_bytes]
    most = most_bytes(resources) or most_after(starts)
    asked = bytes_of(resources.memory) if resources.memory is not None else 0
    if not too_little or most is None or asked is None:
        return resources
    enough = min(int(GROWTH * max(too_little)), most)
    if enough <= asked:
        return resources
    return resources.model_copy(update={"memory": as_slurm_takes_it(enough), "most_memory": as_slurm_takes_it(most)})
