"""How a process takes signals that ask it to leave."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import fresh_python
import pytest

from bench.system.signals import STOP_SIGNALS, Interrupted, Interruption, held_back


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_ends_the_work_at_once_and_is_taken_by_name(number):
    before = signal.getsignal(number)
    with Interruption().watching(), pytest.raises(Interrupted, match=number.name):
        send(number)
    assert signal.getsignal(number) == before


def test_where_work_can_be_saved_a_first_signal_is_noted_and_a_second_ctrl_c_does_not_wait():
    interruption = Interruption()
    with interruption.watching(), interruption.deferred():
        send(signal.SIGUSR2)
        send(signal.SIGTERM)
        assert interruption.signal_name == "SIGUSR2" and not interruption.insistent
        with pytest.raises(Interrupted):
            send(signal.SIGINT)
    with pytest.raises(Interrupted, match="SIGUSR2"):
        interruption.obey()


def test_signals_that_come_while_it_leaves_change_nothing():
    interruption = Interruption()
    with interruption.watching():
        with pytest.raises(Interrupted):
            send(signal.SIGINT)
        for _ in range(3):
            send(signal.SIGINT)
    assert interruption.insistent
    done = Interruption()
    with done.watching():
        done.leave()
        send(signal.SIGTERM)
    assert done.signal_name == "SIGTERM"


def test_whoever_watched_before_is_told():
    outer = Interruption()
    with outer.watching():
        with pytest.raises(Interrupted), Interruption().watching():
            send(signal.SIGHUP)
        send(signal.SIGINT)  # it is leaving by now
    assert outer.signal_name == "SIGHUP"


def test_signals_that_are_ignored_stay_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption().watching() as interruption:
            send(signal.SIGHUP)
        assert interruption.signal_name is None and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signals_that_are_held_back_come_afterwards():
    with Interruption().watching() as interruption, pytest.raises(Interrupted, match="SIGTERM"), held_back():
        send(signal.SIGTERM)
        assert interruption.signal_name is None


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_signals_are_held_back_whichever_thread_the_system_gives_them_to():
    idle = threading.Event()
    threading.Thread(target=idle.wait).start()
    reached = False
    try:
        with Interruption().watching() as interruption, pytest.raises(Interrupted, match="SIGINT"), held_back():
            send(signal.SIGINT)
            wait_for(lambda: interruption.signal_name)
            send(signal.SIGINT)  # two at once would be one
            wait_for(lambda: interruption.insistent)
            reached = True
    finally:
        idle.set()
    assert reached and interruption.insistent


def test_a_process_that_was_started_while_signals_were_held_back_hears_them_once_it_listens():
    script = """
import os, signal
from bench.system.signals import Interrupted, Interruption
os.kill(os.getpid(), signal.SIGTERM)
try:
    with Interruption().watching():
        print("not reached")
except Interrupted as stop:
    print(stop.signal_name)
"""
    with held_back():
        assert fresh_python.run(script).strip() == "SIGTERM"
