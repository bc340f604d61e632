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
    """How much a run of these resources may ask for in the end; None where it cannot grow."""
    asked = bytes_of(resources.memory)
    return (bytes_of(resources.most_memory) or MOST * asked) if asked is not None else None


def enough_bytes(starts: Sequence[Start]) -> int | None:
    """What the next start should ask for, by what was too little before; None where nothing was."""
    too_little = [start.memory_bytes for start in starts if start.how == "memory" and start.memory_bytes]
    return int(GROWTH * max(too_little)) if too_little else None


def with_enough_memory(resources: Resources, starts: Sequence[Start]) -> Resources:
    """The resources with more memory where what is asked for was too little before, up to their bound."""
    asked, most, enough = bytes_of(resources.memory), most_bytes(resources), enough_bytes(starts)
    if asked is None or most is None or enough is None or enough <= asked:
        return resources
    grown = as_slurm_takes_it(max(asked, min(enough, most)))
    return resources.model_copy(update={"memory": grown, "most_memory": as_slurm_takes_it(most)})
