"""What surrounds every process of a run: variables that it needs, and the CPUs and memory that it may use."""

from __future__ import annotations

import math
import os
import tempfile
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

NETWORK_FILES = ("nfs", "lustre", "gpfs", "beegfs", "cifs", "smb", "afs", "ceph", "panfs", "9p", "fuse.")
"""How kinds of file systems begin that lie, or may lie, on other machines."""

UNKNOWN_MEMORY = 8 * 2**30
"""Bytes that are taken to be free where the system does not say."""


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
    return min((limit for folder in _control_groups(root, "cpu") for limit in _limits(folder)), default=math.inf)


def available_memory(root: Path = Path("/")) -> int:
    """Bytes of the machine's memory that are free, or fewer where a control group of this process grants fewer."""
    free = UNKNOWN_MEMORY
    try:
        for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    granted = (left for folder in _control_groups(root, "memory") for left in _memory_left(folder))
    return max(0, min([free, *granted]))


def memory_kills(root: Path = Path("/")) -> int | None:
    """How many processes were killed in the control group of this process, so far, because memory ran out.

    None where the system does not say. A process that a job started is in the job's own group.
    """
    for folder in _control_groups(root, "memory"):
        for name in ("memory.events", "memory.oom_control"):
            try:
                told = dict(line.split() for line in (folder / name).read_text().splitlines())
                return int(told["oom_kill"])
            except (OSError, ValueError, KeyError):  # the first version tells it since Linux 4.13
                continue
    return None


def triton_cache(root: Path = Path("/")) -> str | None:
    """A folder on this machine for compiled kernels, where the home folder lies on another; None: Triton's own will do.

    None also where no such folder can be made that nobody else writes to.
    """
    if not _on_network(Path.home(), root):
        return None
    folder = Path(tempfile.gettempdir()) / f"pairbench-triton-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        state = folder.lstat()
    except OSError:
        return None
    # In a folder for all users anybody may have made one of this name.
    ours = state.st_uid == os.getuid() and not state.st_mode & 0o022 and folder.is_dir() and not folder.is_symlink()
    return str(folder) if ours else None


def _on_network(path: Path, root: Path) -> bool:
    """Whether a path lies on a file system of another machine, as far as this one says."""
    try:
        mounts = [line.split() for line in (root / "proc/self/mounts").read_text().splitlines()]
    except (OSError, UnicodeDecodeError):
        return False
    kinds = {Path(fields[1]): fields[2] for fields in mounts if len(fields) >= 3}
    own = next((kinds[place] for place in (path, *path.parents) if place in kinds), "")
    return own.startswith(NETWORK_FILES)


def _control_groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders, inmost first, of the control groups that limit "cpu" or "memory", in both versions of them."""
    try:
        own = [line.split(":", 2) for line in (root / "proc/self/cgroup").read_text().splitlines()]
        mounts = [line.split() for line in (root / "proc/self/mounts").read_text().splitlines()]
    except (OSError, UnicodeDecodeError):
        return
    for _, controllers, path in (parts for parts in own if len(parts) == 3):
        for _, mounted, kind, options, *_ in (parts for parts in mounts if len(parts) >= 4):
            first = kind == "cgroup" and controller in controllers.split(",") and controller in options.split(",")
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


def _memory_left(folder: Path) -> Iterator[int]:
    """What the files of a control group grant beyond what its processes hold, in bytes."""
    for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        try:
            granted, held = int((folder / limit).read_text()), int((folder / used).read_text())
            # Files that were read count as held, and are given up when memory runs short.
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # "max": no limit
            continue
        yield granted - held + int(statistics.get("total_inactive_file", statistics.get("inactive_file", 0)))
