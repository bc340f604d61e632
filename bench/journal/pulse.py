"""What a running cell does besides its work: it says where it is, saves now and then, and leaves when asked."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from bench.journal.heartbeat import (
    BEAT_SECONDS,
    Heartbeat,
    Place,
    State,
    present_job,
    record_stamp,
    this_host,
    write_heartbeat,
)
from bench.journal.usage import Usage
from bench.system.signals import Interrupted, Interruption

SAVE_SECONDS = 90.0
"""Work is saved this often: with the time that saving takes, a sudden death loses less than two minutes."""


Observer = Callable[[str, str], None]
"""Takes what a run is doing, and a detail."""


def _ignore(event: str, detail: str) -> None:
    """Nobody watches."""


class Meter(Protocol):
    """Measures what a run takes of its machine."""

    def sample(self) -> None:
        """Look at what can only be looked at now and then. May take seconds; the run does not wait for it."""

    def usage(self) -> Usage:
        """What it has taken so far. Answers at once."""


class Pulse:
    """A thread writes the heartbeat every few seconds, so that long calculations do not look dead.

    Without a folder nothing is written; work is saved all the same.
    """

    def __init__(
        self,
        folder: Path | None = None,
        interruption: Interruption | None = None,
        save_seconds: float = SAVE_SECONDS,
        observe: Observer | None = None,
    ) -> None:
        """`observe` is told each phase as it goes on, "saving" before something is saved, "saved" and its name then."""
        self.folder, self.interruption, self.observe = folder, interruption or Interruption(), observe or _ignore
        self.save_seconds, self.place, self.saved, self.deaths = save_seconds, Place(), "", 0
        self.meter: Meter | None = None
        self._last_save, self._phase_start, self._phase_first = time.monotonic(), time.monotonic(), 0
        self._lock, self._stop = threading.Lock(), threading.Event()

    @contextmanager
    def beating(self, saved: str, deaths: int) -> Iterator[None]:
        """Heartbeats for the block. `saved` and `deaths` are what an earlier process left behind."""
        self.saved, self.deaths = saved, deaths
        self._write("running")
        thread = threading.Thread(target=self._beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def enter(self, place: Place) -> None:
        """Say that another phase begins, `place.done` of it done before."""
        changed = (place.phase, place.what, place.epoch) != (self.place.phase, self.place.what, self.place.epoch)
        self.place, self._phase_start, self._phase_first = place, time.monotonic(), place.done
        if changed:
            self._write("running")
        self.observe(place.phase, str(place))

    def advance(self, count: int) -> None:
        """Say that `count` more steps or pairs are done."""
        self.place = self.place.model_copy(update={"done": self.place.done + count})
        self.observe(self.place.phase, str(self.place))

    def safe_point(self, save: Callable[[], str]) -> None:
        """Here the work can be saved: do so if it is time; raise Interrupted, having saved, if asked to leave.

        `save` returns a name of what it saved, another one each time that there was progress.
        """
        asked = self.interruption.signal_name
        if asked is not None or time.monotonic() - self._last_save >= self.save_seconds:
            self.save(save)
        if asked is not None:
            raise Interrupted(asked)

    def save(self, save: Callable[[], str]) -> None:
        """Save the work now, whether or not it is time."""
        self.observe("saving", str(self.place))
        name = save()
        self.observe("saved", name)
        if name != self.saved:
            self.saved, self.deaths = name, 0
        self._last_save = time.monotonic()
        self.observe(self.place.phase, str(self.place))

    def end(self, state: State, reason: str = "", tests: Sequence[str] = ()) -> None:
        """The last word."""
        self._write(state, reason, tests)

    def usage(self) -> Usage | None:
        """What the run has taken of its machine so far, where a meter is there."""
        return self.meter.usage() if self.meter is not None else None

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            if self.meter is not None:
                self.meter.sample()
            self._write("running")

    def _write(self, state: State, reason: str = "", tests: Sequence[str] = ()) -> None:
        if self.folder is None:
            return
        heartbeat = Heartbeat(
            state=state,
            updated=time.time(),
            host=this_host(),
            pid=os.getpid(),
            job=present_job(),
            place=self.place,
            seconds_left=self._seconds_left(),
            reason=reason,
            saved=self.saved,
            deaths=self.deaths,
            tests=list(tests),
            record_stamp=record_stamp(self.folder),
            usage=self.usage(),
        )
        with self._lock:
            try:
                write_heartbeat(self.folder, heartbeat)
            except OSError:
                return  # a full disk must not end a run that has nothing to save yet

    def _seconds_left(self) -> float | None:
        done = self.place.done - self._phase_first
        if done <= 0:
            return None
        return (time.monotonic() - self._phase_start) / done * max(0, self.place.total - self.place.done)
