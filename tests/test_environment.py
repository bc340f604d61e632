"""The CPUs that a process may use: what it is bound to, or fewer where its control groups grant less."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from bench import environment
from bench.environment import cpu_quota, cpus

FIRST = "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\n"
SECOND = "cgroup2 /sys/fs/cgroup cgroup2 rw,relatime 0 0\n"


@pytest.fixture
def machine(tmp_path):
    """A file system with the control groups of a process, and limits by the path of their file."""

    def make(own: str, mounts: str, **limits: str) -> Path:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(own)
        (tmp_path / "proc/self/mounts").write_text("proc /proc proc rw 0 0\n" + mounts)
        for path, text in limits.items():
            file = tmp_path / "sys/fs/cgroup" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path

    return make


def test_without_limits_there_is_none(machine, tmp_path):
    assert cpu_quota(tmp_path / "no-proc") == math.inf
    assert cpu_quota(machine("0::/\n", SECOND, **{"cpu.max": "max 100000\n"})) == math.inf


@pytest.mark.parametrize(("text", "quota"), [("150000 100000\n", 1.5), ("20000 100000\n", 0.2), ("nonsense", math.inf)])
def test_the_second_version_has_quota_and_period_in_one_file(text, quota, machine):
    assert cpu_quota(machine("0::/\n", SECOND, **{"cpu.max": text})) == quota


def test_the_first_version_has_a_file_for_each(machine):
    files = {"cpu,cpuacct/cpu.cfs_quota_us": "250000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}
    assert cpu_quota(machine("4:memory:/a\n3:cpuacct,cpu:/\n", FIRST, **files)) == 2.5


def test_no_quota_of_the_first_version_is_minus_one(machine):
    files = {"cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}
    assert cpu_quota(machine("3:cpu,cpuacct:/\n", FIRST, **files)) == math.inf


def test_the_smallest_limit_on_the_way_up_counts(machine):
    limits = {"cpu.max": "max 100000", "job/cpu.max": "200000 100000", "job/step/cpu.max": "400000 100000"}
    assert cpu_quota(machine("0::/job/step\n", SECOND, **limits)) == 2


def test_a_path_of_the_host_that_the_container_does_not_see_leads_to_its_top(machine):
    assert cpu_quota(machine("0::/docker/0123\n", SECOND, **{"cpu.max": "300000 100000"})) == 3


def test_limits_of_memory_are_none_of_cpus(machine):
    files = {"memory/cpu.cfs_quota_us": "100000", "memory/cpu.cfs_period_us": "100000"}
    mounts = "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
    assert cpu_quota(machine("4:memory:/\n", mounts, **files)) == math.inf


@pytest.mark.parametrize(
    ("bound", "quota", "count"), [(8, math.inf, 8), (8, 2.0, 2), (8, 1.5, 2), (8, 0.2, 1), (2, 16.0, 2)]
)
def test_the_smaller_of_both_counts_and_a_part_of_a_cpu_is_one(bound, quota, count, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(bound)), raising=False)
    monkeypatch.setattr(environment, "cpu_quota", lambda: quota)
    assert cpus() == count
