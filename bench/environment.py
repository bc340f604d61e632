"""What surrounds every process of a run: variables that it needs, and the CPUs that it may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

RUN_ENVIRONMENT = {
    # Threads that spin while they wait stand in one another's way as soon as anything else runs on the machine:
    # training then takes many times as long.
    "OMP_WAIT_POLICY": "passive",
    # Without it, matrix products on a GPU may differ from run to run.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
"""To be set before torch is imported."""


def cpus() -> int:
    """CPUs that this process may use: those that it is bound to, or fewer where its quota is smaller; at least 1.

    A part of a CPU counts as a whole one: with one thread less it would go to waste.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(bound, math.ceil(min(cpu_quota(), bound))))


def cpu_quota(root: Path = Path("/")) -> float:
    """CPU seconds a second that the control groups of this process grant, as containers set them; inf without limit.

    `root` is the file system in which /proc and /sys are looked for.
    """
    return min((limit for folder in _control_groups(root) for limit in _limits(folder)), default=math.inf)


def _control_groups(root: Path) -> Iterator[Path]:
    """The folders, inmost first, of the control groups that limit CPU time, in either version of the interface."""
    try:
        own = [line.split(":", 2) for line in (root / "proc/self/cgroup").read_text().splitlines()]
        mounts = [line.split() for line in (root / "proc/self/mounts").read_text().splitlines()]
    except (OSError, UnicodeDecodeError):
        return
    for _, controllers, path in (parts for parts in own if len(parts) == 3):
        for _, mounted, kind, options, *_ in (parts for parts in mounts if len(parts) >= 4):
            first = kind == "cgroup" and "cpu" in controllers.split(",") and "cpu" in options.split(",")
            second = kind == "cgroup2" and not controllers
            if first or second:
                top = root / mounted.lstrip("/")
                # Seen from within a container, the path may be the host's: then only the top is there.
                inmost = top / path.lstrip("/")
                yield from (folder for folder in (inmost, *inmost.parents) if folder.is_relative_to(top))


def _limits(folder: Path) -> Iterator[float]:
    """What the files of a control group say, as a share of one CPU."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((folder / name).read_text() for name in names).split()
            if int(quota) > 0:  # "max" in the second version, -1 in the first: no limit
                yield int(quota) / int(period)
        except (OSError, ValueError):
            continue
