"""Round amounts of memory and time, of which jobs ask for a few only."""

from __future__ import annotations

GIB = 2**30

STEPS_GIB = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
STEPS_MINUTES = (10, 15, 20, 30, 45, 60, 90, *(60 * hours for hours in (2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 36, 48)))
DAY = 24 * 60


def memory_step(size: float) -> str:
    """The next round amount that holds so many bytes, as sbatch takes it, such as "12G"."""
    wanted = size / GIB
    return f"{next((step for step in STEPS_GIB if step >= wanted), int(wanted) + 1)}G"


def time_step(seconds: float) -> str:
    """The next round time limit that leaves so many seconds, as sbatch takes it, such as "4:00:00"."""
    wanted = seconds / 60
    minutes = next((step for step in STEPS_MINUTES if step >= wanted), DAY * -int(-wanted // DAY))
    return f"{minutes // 60}:{minutes % 60:02}:00"
