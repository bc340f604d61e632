"""Waiting for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 150.0
"""Seconds; far more than anything takes, for machines that do much else."""


def wait_for(what: str, condition: Callable[[], object], patience: float = PATIENCE) -> object:
    """The first true value of a condition that is looked at again and again."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {patience:.0f} s for: {what}"
        time.sleep(0.05)
    return found
