"""Times and amounts of memory as SLURM's commands take and tell them."""

from __future__ import annotations

import re

_MEMORY = re.compile(r"(\d+(?:\.\d*)?)([KMGTP]?)B?", re.IGNORECASE)
_POWERS = {"K": 10, "M": 20, "G": 30, "T": 40, "P": 50}


def minutes_of(text: str) -> int:
    """Whole minutes, rounded up, of a time limit as sbatch takes it. Raises ValueError for anything else."""
    days, dash, rest = text.rpartition("-")
    parts = rest.split(":")
    if not all(part.isdecimal() for part in parts) or (dash and not days.isdecimal()) or len(parts) > 3:
        raise ValueError(f"no time limit: {text!r}; write MINUTES, H:M:S, D-H or D-H:M:S")
    numbers = [int(part) for part in parts]
    if dash:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:
        hours, (minutes, seconds) = 0, (*numbers, 0)[:2]
    total = ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
    if total == 0:
        raise ValueError(f"no time limit: {text!r} is no time at all")
    return -(-total // 60)


def seconds_of(text: str) -> float:
    """Seconds of a duration as sacct tells it, such as 1-02:03:04 or 05:06.789. Raises ValueError for anything else."""
    days, _, clock = text.rpartition("-")
    parts = clock.split(":")
    if len(parts) not in (2, 3):
        raise ValueError(f"no duration: {text!r}")
    hours, minutes, seconds = ["0", *parts][-3:]
    return ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * 60 + float(seconds)


def bytes_of(text: str, unit: str = "") -> int:
    """Bytes of an amount such as 32G or 1536K; one without a letter is of `unit`. Raises ValueError for anything else."""
    found = _MEMORY.fullmatch(text)
    if found is None:
        raise ValueError(f"no amount of memory: {text!r}; write 32G or 500M")
    number, letter = found.groups()
    return int(float(number) * 2 ** _POWERS.get((letter or unit).upper(), 0))
