"""When a run saves."""

from __future__ import annotations

import time

import pytest

from bench.journal.pulse import Pulse


@pytest.mark.slow
def test_work_is_saved_when_it_is_time(monkeypatch):
    saved = []
    pulse = Pulse(save_seconds=60.0)
    now = time.monotonic()
    pulse.safe_point(lambda: saved.append("early") or "early")
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    pulse.safe_point(lambda: saved.append("due") or "due")
    pulse.safe_point(lambda: saved.append("again") or "again")
    assert saved == ["due"]
