"""When a run saves, and how it takes signals."""

from __future__ import annotations

import os
import signal
import time

import pytest

from bench.journal.pulse import Pulse
from bench.journal.signals import Interrupted, Interruption


def test_a_first_signal_is_noted_and_outside_of_saved_work_ends_the_run_at_once():
    interruption = Interruption()
    with interruption.watching():
        with interruption.deferred():
            os.kill(os.getpid(), signal.SIGUSR2)
            assert interruption.signal_name == "SIGUSR2"
            with pytest.raises(Interrupted):  # a second Ctrl-C does not wait
                os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_work_is_saved_when_it_is_time(monkeypatch):
    saved = []
    pulse = Pulse(save_seconds=60.0)
    now = time.monotonic()
    pulse.safe_point(lambda: saved.append("early") or "early")
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    pulse.safe_point(lambda: saved.append("due") or "due")
    pulse.safe_point(lambda: saved.append("again") or "again")
    assert saved == ["due"]
