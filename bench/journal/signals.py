"""Signals that ask a run to save and leave."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)
"""SLURM sends SIGTERM before it takes a job's node away and SIGUSR2 before its time is up; SIGINT is Ctrl-C."""


class Interrupted(BaseException):
    """The run was asked to leave and has saved what it had. No failure, therefore no Exception."""

    def __init__(self, signal_name: str) -> None:
        super().__init__(signal_name)
        self.signal_name = signal_name


class Interruption:
    """Notes the first stop signal. It ends the run at once, except inside `deferred`, where the work saves first."""

    def __init__(self) -> None:
        self.signal_name: str | None = None
        self._deferrals = 0

    @contextmanager
    def watching(self) -> Iterator[Interruption]:
        """Take the stop signals over for the block. Only the main thread can; elsewhere nothing is taken over."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._note) for number in STOP_SIGNALS}
        # Whoever started this process may have held signals back until somebody listens.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """A block that looks at `signal_name` itself, at points where it can save."""
        self._deferrals += 1
        try:
            yield
        finally:
            self._deferrals -= 1

    def _note(self, number: int, frame: FrameType | None) -> None:
        insistent = self.signal_name is not None and number == signal.SIGINT
        self.signal_name = self.signal_name or signal.Signals(number).name
        if insistent or not self._deferrals:
            raise Interrupted(self.signal_name)
