"""Functions and commands in processes of their own, without the seconds that importing PyTorch takes each time.

The processes are forked from a server that has imported everything and computed nothing, so that what they measure and
how they die is as in a process that was just started.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, TYPE_CHECKING

from bench.system.processes import forking
from bench.system.signals import STOP_SIGNALS

if TYPE_CHECKING:
    from bench.running.task import CellTask


@dataclass(frozen=True)
class Outcome:
    """What a command did. A code below 0 is that of the signal that ended it."""

    code: int
    out: str
    err: str


class Apart:
    """A function that runs in a process of its own, with this process's environment and working folder."""

    def __init__(self, function: Callable[..., object], *arguments: object, **environment: str) -> None:
        self._out, self._err = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115
        streams = [f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in (self._out, self._err)]
        variables = {**os.environ, **environment}
        self._process: BaseProcess = forking("bench.running.preflight").Process(
            target=_call, args=(function, arguments, variables, streams)
        )
        self._process.start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        os.kill(self.pid, number)

    def wait(self, seconds: float = 120.0) -> Outcome:
        """How it ended."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            self._process.kill()
            raise AssertionError(f"not ended after {seconds} s: {self._text(self._out)}{self._text(self._err)}")
        return Outcome(self._process.exitcode, self._text(self._out), self._text(self._err))

    @staticmethod
    def _text(file: IO[bytes]) -> str:
        file.seek(0)
        return file.read().decode()


def run(function: Callable[..., object], *arguments: object, **environment: str) -> str:
    """What a function prints in a process of its own; it has to end well."""
    outcome = Apart(function, *arguments, **environment).wait()
    assert outcome.code == 0, outcome
    return outcome.out


def code(text: str, values: Mapping[str, object] | None = None, **environment: str) -> str:
    """What Python code prints that finds these values under their names."""
    return run(execute, text, dict(values or {}), **environment)


def bench(*words: str | Path) -> Apart:
    """The command `bench`, with its exit code."""
    return Apart(_bench, [str(word) for word in words])


def cell(task: CellTask) -> Apart:
    """A cell, with its exit code, as a cluster's job runs it: nobody but the run itself counts its deaths."""
    return Apart(_cell, task)


def _cell(task: CellTask) -> None:
    from bench.running.cell import run_cell

    sys.exit(run_cell(task))


def execute(text: str, values: dict[str, object]) -> None:
    """Run Python code that finds these values under their names."""
    exec(text, {"__name__": "__apart__", **values})


def _bench(words: list[str]) -> None:
    from bench.cli import main

    sys.exit(main(words))


def _call(function: Callable[..., object], arguments: tuple, variables: dict[str, str], streams: list[str]) -> None:
    os.environ.clear()
    os.environ.update(variables)
    for number, path in zip((1, 2), streams, strict=True):
        handle = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(handle, number)
        os.close(handle)
    # As a shell starts it, whatever the server does about signals.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    try:
        function(*arguments)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    finally:
        sys.stdout.flush()
