"""Whatever ends `bench run` ends its runs, after they have saved; nothing trains on alone, nobody is shown a trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.journal.heartbeat import HEARTBEAT, Heartbeat, read_heartbeat
from bench.journal.record import CHECKPOINT

LONG = ("--set", "training.epochs=2000")


@pytest.fixture
def command(tiny_data, tmp_path) -> list[str]:
    """A `bench run` of two rows that would take minutes, and of one that waits."""
    select = ["--variants", "ViT,cosine,Transformer", "--train", "msmt", "--preset", "tiny", "--jobs", "2", *LONG]
    return ["run", *select, "--data-dir", str(tiny_data), "--results", str(tmp_path / "results")]


def saved(results: Path) -> bool:
    return len(list(results.glob(f"runs/*/{CHECKPOINT}"))) == 2


def once(condition: Callable[[], bool], patience: float = 90) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def heartbeats(results: Path) -> list[Heartbeat]:
    found = [read_heartbeat(path.parent) for path in sorted(results.glob(f"runs/*/{HEARTBEAT}"))]
    assert len(found) == 2
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not yet asked for its exit code does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_the_command_ends_its_runs_and_is_told(number, bench, command, tmp_path):
    """Sent to this very process, in which the command runs."""

    def send() -> None:
        once(lambda: saved(tmp_path / "results"))
        os.kill(os.getpid(), number)

    threading.Thread(target=send).start()
    found = bench(*command)
    assert found.code == 128 + number
    assert f"{number.name}: 2 runs save and leave" in found.err and f"ended by {number.name}" in found.err
    for heartbeat in heartbeats(tmp_path / "results"):
        assert heartbeat.state == "interrupted" and not alive(heartbeat.pid)
    assert not list((tmp_path / "results").glob("runs/*/record.json"))
    status = bench("status", "--variants", "ViT", "--preset", "tiny", *LONG, *command[-4:])
    assert "interrupted, epoch" in status.out


@pytest.fixture
def start(command, tmp_path):
    """Start the command as a shell does, in a process group of its own; gives the process once two runs have saved."""
    processes = []

    def call() -> subprocess.Popen:
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "bench", *command],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        once(lambda: saved(tmp_path / "results"))
        return processes[-1]

    yield call
    for process in processes:
        process.kill()
        process.communicate()


def in_session(session: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it has just ended
            continue
        found += [int(path.parent.name)] if int(own) == session and state != "Z" else []
    return found


@pytest.mark.slow
def test_a_command_that_is_killed_takes_its_runs_along_and_they_save(start, tmp_path):
    process = start()
    before = {heartbeat.pid: heartbeat.saved for heartbeat in heartbeats(tmp_path / "results")}
    assert len(in_session(process.pid)) > 3  # with the server that forks, and multiprocessing's own
    process.kill()
    once(lambda: not in_session(process.pid), patience=30)
    for heartbeat in heartbeats(tmp_path / "results"):
        assert heartbeat.state == "interrupted" and heartbeat.saved != before[heartbeat.pid]


@pytest.mark.slow
def test_three_quick_ctrl_c_are_quiet(start, tmp_path):
    """As a terminal sends them: to the command and its runs alike."""
    process = start()
    for _ in range(3):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.01)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in out + err
    assert err.splitlines() == [
        "SIGINT: 2 runs save and leave",
        "ended by SIGINT; the same command goes on where it was",
    ]
    once(lambda: not in_session(process.pid), patience=30)
    assert all(heartbeat.state == "interrupted" for heartbeat in heartbeats(tmp_path / "results"))
