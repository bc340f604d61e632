"""Signals that ask a process to save and leave, and how it takes them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
)
"""SIGTERM is how systems, containers and SLURM ask first, SIGINT is Ctrl-C, SIGHUP a terminal that was closed; batch
systems send SIGUSR1, SIGUSR2 or SIGXCPU before time is up. SIGQUIT stays the way to end a process at once."""


class Interrupted(BaseException):
    """The process was asked to leave; what it had to save is saved. No failure, therefore no Exception."""

    def __init__(self, signal_name: str) -> None:
        super().__init__(signal_name)
        self.signal_name = signal_name


class Interruption:
    """Notes the first stop signal. It ends the work at once, except inside `deferred`, where the work saves first.

    Interrupted is raised once: signals that come while the process leaves, or after `leave`, change nothing.
    """

    def __init__(self) -> None:
        self.signal_name: str | None = None
        self.insistent = False
        """Whether Ctrl-C came after another signal: whoever sent it will not wait."""
        self._deferrals, self._holds, self._raised = 0, 0, False

    @contextmanager
    def watching(self) -> Iterator[Interruption]:
        """Take the stop signals over for the block, except those that are ignored, as `nohup` has SIGHUP ignored.

        Only the main thread can; elsewhere nothing is taken over. Whoever watched before is told afterwards that the
        process is leaving.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
        for number in before:
            signal.signal(number, self._note)
        try:
            # Whoever started this process may have held signals back until somebody listens.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            yield self
        finally:
            for outer in _watchers(before.values()):
                if self.signal_name is not None:
                    outer.signal_name = outer.signal_name or self.signal_name
                    outer.leave()
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

    def obey(self) -> None:
        """Raise Interrupted if a signal was noted."""
        if self.signal_name is not None:
            self._raised = True
            raise Interrupted(self.signal_name)

    def leave(self) -> None:
        """The process is on its way out: signals are noted, but interrupt nothing any more."""
        self._raised = True

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.insistent = self.insistent or (self.signal_name is not None and number == signal.SIGINT)
        self.signal_name = self.signal_name or signal.Signals(number).name
        self._heed()

    def _heed(self) -> None:
        waits = self._holds or (self._deferrals and not self.insistent)
        if self.signal_name is not None and not self._raised and not waits:
            self._raised = True
            raise Interrupted(self.signal_name)


@contextmanager
def held_back() -> Iterator[None]:
    """Stop signals take effect after the block; processes started in it are born without hearing them."""
    watchers = _watchers(map(signal.getsignal, STOP_SIGNALS))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    for watcher in watchers:
        watcher._holds += 1  # the mask is this thread's alone: the system may give the signal to another one
    try:
        yield
    finally:
        for watcher in watchers:
            watcher._holds -= 1
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for watcher in watchers:
            watcher._heed()


def _watchers(handlers: Iterable[object]) -> list[Interruption]:
    """Whoever watches, by the handlers of signals."""
    owners = {getattr(handler, "__self__", None) for handler in handlers}
    return [owner for owner in owners if isinstance(owner, Interruption)]
