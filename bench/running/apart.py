"""Outside code in a process of its own, with a time limit: what loops for ever there, ends its process or crashes
costs the command nothing but a sentence.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.system.processes import Died, call_apart, forking

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


def apart(function: Callable[..., Any], *arguments: Any) -> Tried:
    """What `function(*arguments)` returns, or the words of what it raises, from a process of its own.

    The process is ended after TRIAL_SECONDS, by the system, so that it makes no difference what it is doing.
    """
    try:
        return call_apart(forking("bench.running.cell"), _answer, TRIAL_SECONDS, function, arguments)
    except Died as fault:
        return Tried(problem=_end_of(fault.exit_code), ended=True)


def _answer(seconds: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Tried:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)
    try:
        return Tried(function(*arguments))
    except BaseException as fault:  # outside code may raise anything
        return Tried(problem=words_of(fault))


def words_of(fault: BaseException) -> str:
    """What a fault says, on one line; with its kind, unless it is a refused value."""
    text = " ".join(str(fault).split())
    return text if isinstance(fault, ValueError) and text else f"{type(fault).__name__}: {text}"


def _end_of(code: int) -> str:
    if code == -signal.SIGALRM:
        return f"it did not come to an end within {TRIAL_SECONDS} s"
    return f"it ended its process by {signal.Signals(-code).name}" if code < 0 else f"it ended its process with {code}"
