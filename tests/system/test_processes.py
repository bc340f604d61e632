"""Processes that this one starts come to be whatever the temporary folder, and end with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from places import ROOT

from bench.errors import UserError
from bench.system import processes
from bench.system.processes import Died, call_apart, ended_with, forking, how_it_ended
from bench.system.signals import Interrupted


def double(number: int) -> int:
    return 2 * number


def refuse() -> None:
    raise ValueError("not this one")


def end(code: int) -> None:
    os._exit(code)


def end_by(number: int) -> None:
    os.kill(os.getpid(), number)


def answer_and_stay(number: int) -> int:
    """A result, and a thread that would keep the process."""
    threading.Thread(target=time.sleep, args=(3600,)).start()
    return number


def wait_for_ever() -> None:
    time.sleep(3600)


@pytest.fixture
def context():
    return forking("bench.running.cell")


def test_a_process_of_its_own_answers_raises_or_dies(context):
    assert call_apart(context, double, 21) == 42
    with pytest.raises(ValueError, match="not this one"):
        call_apart(context, refuse)
    with pytest.raises(Died, match="ended with code 3"):
        call_apart(context, end, 3)
    with pytest.raises(Died, match=r"was ended by SIGKILL \(out of memory\?\)"):
        call_apart(context, end_by, signal.SIGKILL)
    with pytest.raises(Died, match="was ended by SIGTERM"):  # it is born with such signals held back
        call_apart(context, end_by, signal.SIGTERM)
    assert call_apart(context, answer_and_stay, 1) == 1


def test_exit_codes_in_words():
    assert how_it_ended(0) == "ended with code 0"
    assert how_it_ended(-signal.SIGSEGV) == "was ended by SIGSEGV"
    assert how_it_ended(-40) == "was ended by signal 40"


def test_what_is_raised_meanwhile_ends_the_process(context):
    process = context.Process(target=wait_for_ever)
    with pytest.raises(Interrupted), ended_with(process):
        os.kill(process.pid, signal.SIGKILL)  # stop signals are held back in a process that never listens
        raise Interrupted("SIGTERM")
    assert process.exitcode == -signal.SIGKILL


PARENT = """
import multiprocessing, os, sys, time
from bench.system.processes import follow_parent, forking, serve_parent

def child(pipe, method):
    follow_parent() if method == "run" else serve_parent()
    if method == "run":
        from bench.system.signals import Interrupted, Interruption
        try:
            with Interruption().watching():
                pipe.send(os.getpid())
                time.sleep(3600)
        except Interrupted:
            os.write(1, b"saved")
        return
    pipe.send(os.getpid())
    time.sleep(3600)

if __name__ == "__main__":
    method = sys.argv[1]
    context = multiprocessing.get_context("spawn") if method == "spawn" else forking("bench.system.signals")
    ours, theirs = context.Pipe()
    context.Process(target=child, args=(theirs, method)).start()
    print(ours.recv(), flush=True)
    time.sleep(3600)
"""


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("method", ["run", "forkserver", "spawn"])
def test_a_process_ends_with_the_one_that_started_it_even_if_that_is_killed(method, tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, script, method], stdout=subprocess.PIPE, text=True, env=environment)
    child = int(parent.stdout.readline())
    parent.kill()
    said, _ = parent.communicate(timeout=30)
    deadline = time.monotonic() + 30
    while not gone(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert said == ("saved" if method == "run" else "")


LONG = """
import os, tempfile
from bench.system.processes import call_apart, forking
tempfile.tempdir = None
apart = call_apart(forking("bench.system.signals"), os.getpid)
print(apart != os.getpid(), tempfile.gettempdir() == os.environ["TMPDIR"])
"""


def test_a_temporary_folder_with_a_long_path_does(tmp_path):
    long = tmp_path / ("long" * 30)
    long.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", LONG],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(long)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "True True\n", done.stderr
    assert list(long.iterdir()) == []


def test_where_no_folder_will_do_that_is_said(monkeypatch):
    monkeypatch.setattr(processes, "MOST_FOLDER_BYTES", 0)
    with pytest.raises(UserError, match="set TMPDIR to a shorter one"):
        forking("bench.running.cell")


def test_nobody_is_followed_by_a_process_that_nobody_started():
    assert multiprocessing.parent_process() is None
    before, threads = signal.getsignal(signal.SIGINT), threading.active_count()
    try:
        processes.follow_parent()
        assert threading.active_count() == threads
    finally:
        signal.signal(signal.SIGINT, before)
