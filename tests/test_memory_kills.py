"""A kill for memory is told from others by the counter of the control group in which the process was."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.environment import memory_kills

FIRST = "4:memory:/slurm/job_7/task_0\n", "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
SECOND = "0::/slurm/job_7/task_0\n", "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
EVENTS = "low 0\nhigh 0\nmax 31\noom 4\noom_kill {}\noom_group_kill 0\n"


@pytest.mark.parametrize(
    ("groups", "top", "file", "text"),
    [
        (FIRST, "sys/fs/cgroup/memory", "memory.oom_control", CONTROL),
        (SECOND, "sys/fs/cgroup", "memory.events", EVENTS),
    ],
)
def test_kills_are_those_of_the_inmost_group(groups, top, file, text, tmp_path: Path):
    """Groups further out count those of other jobs too."""
    (tmp_path / "proc/self").mkdir(parents=True)
    for name, content in zip(("cgroup", "mounts"), groups, strict=True):
        (tmp_path / "proc/self" / name).write_text(content)
    assert memory_kills(tmp_path) is None
    inmost = tmp_path / top / "slurm/job_7/task_0"
    inmost.mkdir(parents=True)
    (inmost.parent.parent / file).write_text(text.format(9))
    (inmost / file).write_text(text.format(2))
    assert memory_kills(tmp_path) == 2


def test_a_system_that_does_not_count_them_says_none(tmp_path: Path):
    assert memory_kills(tmp_path) is None
