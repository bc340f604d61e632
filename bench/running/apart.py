"""Processes of our own: forked from a server that has imported torch but computed nothing, so that each starts at once.

`apart` calls outside code in one of them, with a time limit: what loops for ever there, ends its process or crashes
costs the command nothing but a sentence.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from typing import Any

TRIAL_SECONDS = 120
"""What one trial of outside code may take: far more than any head needs, little for who waits for nothing."""


@dataclass(frozen=True)
class Tried:
    """How a trial ended: with a value, or with a problem."""

    value: Any = None
    problem: str = ""
    """One sentence."""
    ended: bool = False
    """Whether the process was ended, by the time limit or by what it did itself."""


def forkserver() -> ForkServerContext:
    """The processes that a command forks; all from one server, so that runs find there what they need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.running.cell"])
    return context


def apart(function: Callable[..., Any], *arguments: Any) -> Tried:
    """What `function(*arguments)` returns, or the words of what it raises, from a process of its own.

    The process is ended after TRIAL_SECONDS, by the system, so that it makes no difference what it is doing.
    """
    context = forkserver()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, TRIAL_SECONDS, function, arguments))
    process.start()
    sender.close()
    try:
        multiprocessing.connection.wait([receiver, process.sentinel])
        # Not ready, or closed: the process ended before it could answer.
        return receiver.recv() if receiver.poll() else Tried(problem=_end_of(process), ended=True)
    except EOFError:
        return Tried(problem=_end_of(process), ended=True)
    finally:
        process.kill()
        process.join()
        receiver.close()


def _answer(sender: Connection, seconds: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    for number in (signal.SIGINT, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.alarm(seconds)
    try:
        tried = Tried(function(*arguments))
    except BaseException as fault:  # outside code may raise anything
        tried = Tried(problem=words_of(fault))
    sender.send(tried)


def words_of(fault: BaseException) -> str:
    """What a fault says, on one line; with its kind, unless it is a refused value."""
    text = " ".join(str(fault).split())
    return text if isinstance(fault, ValueError) and text else f"{type(fault).__name__}: {text}"


def _end_of(process: multiprocessing.process.BaseProcess) -> str:
    process.join()
    code = process.exitcode or 0
    if code == -signal.SIGALRM:
        return f"it did not come to an end within {TRIAL_SECONDS} s"
    return f"it ended its process by {signal.Signals(-code).name}" if code < 0 else f"it ended its process with {code}"
