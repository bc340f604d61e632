"""A process is told from another that has its number."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from bench.journal.heartbeat import this_host
from bench.running import identity
from bench.running.identity import Process, descends_from, end, identify


@pytest.fixture(params=["/proc", "ps"], autouse=True)
def source(request, monkeypatch, tmp_path) -> str:
    """Where processes are looked up: as on Linux, and as on machines that have no /proc."""
    if request.param == "ps":
        monkeypatch.setattr(identity, "PROC", tmp_path / "none")
    return request.param


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen]:
    with subprocess.Popen(["sleep", "60"]) as child:
        yield child
        child.kill()


def test_a_process_is_known_by_host_start_and_command(sleeper):
    found = identify(sleeper.pid)
    assert found.host == this_host() and "sleep" in " ".join(found.command) and found.lives
    assert Process.model_validate_json(found.model_dump_json()) == found
    assert identify(os.getpid()).lives and identify(os.getpid()) != found


@pytest.mark.parametrize("change", [{"started": "another boot+1"}, {"command": ("sleep", "61")}])
def test_another_process_of_the_same_number_is_not_it_and_is_not_ended(sleeper, change):
    other = identify(sleeper.pid).model_copy(update=change)
    assert other.lives is False and end(other) is False
    assert sleeper.poll() is None


def test_what_runs_on_another_host_is_not_known_here_and_not_ended(sleeper):
    there = identify(sleeper.pid).model_copy(update={"host": "elsewhere"})
    assert there.lives is None and end(there) is False
    assert sleeper.poll() is None


def test_a_process_is_ended_once(sleeper):
    found = identify(sleeper.pid)
    assert end(found) is True
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # dead, its number not given back yet
    assert found.lives is False and end(found) is False and identify(sleeper.pid) is None
    assert sleeper.wait() == -signal.SIGTERM
    assert found.lives is False and end(found) is False and identify(sleeper.pid) is None


def test_descent_is_followed_through_all_generations():
    # The shell starts a sleep, tells its number and waits.
    with subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True) as shell:
        grandchild = int(shell.stdout.readline())
        try:
            assert descends_from(grandchild, shell.pid) and descends_from(grandchild, os.getpid())
            assert descends_from(shell.pid, shell.pid) and not descends_from(shell.pid, grandchild)
        finally:
            os.kill(grandchild, signal.SIGKILL)
