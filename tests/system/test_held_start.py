"""A program that is told to leave while it still imports keeps that in mind until it listens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

SLOW = """
import os, signal, sys
os.kill(os.getpid(), signal.{name})
print("imported", sys.argv[1:], __name__, flush=True)
def heard(number, frame):
    print("heard", signal.Signals(number).name, flush=True)
signal.signal(signal.{name}, heard)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.{name}])
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR2", "SIGINT"])
def test_a_signal_waits_until_the_module_listens(name, tmp_path):
    (tmp_path / "slow_module.py").write_text(SLOW.format(name=name))
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", "bench.system.held_start", "slow_module", "a", "b"],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["imported ['a', 'b'] __main__", f"heard {name}"]


def test_without_it_the_same_signal_ends_the_program(tmp_path):
    (tmp_path / "slow_module.py").write_text(SLOW.format(name="SIGUSR2"))
    done = subprocess.run([sys.executable, "-m", "slow_module"], cwd=tmp_path, timeout=60)
    assert done.returncode == -signal.SIGUSR2
