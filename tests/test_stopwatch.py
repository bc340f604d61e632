"""Seconds by phase: of the host's clock, or between marks in a GPU's queue that nobody waits for."""

from __future__ import annotations

import pytest
import torch

from bench.stopwatch import Stopwatch


class PlayedQueue:
    """A GPU's queue that is done with nothing until somebody waits; a mark lies a second behind the one before."""

    def __init__(self) -> None:
        self.marks, self.done, self.waits = 0, 0, 0

    def event(self, enable_timing: bool):
        assert enable_timing
        return PlayedEvent(self)


class PlayedEvent:
    def __init__(self, queue: PlayedQueue) -> None:
        self.queue = queue

    def record(self, stream: object) -> None:
        self.queue.marks += 1
        self.place = self.queue.marks

    def query(self) -> bool:
        return self.place <= self.queue.done

    def synchronize(self) -> None:
        if not self.query():
            self.queue.waits += 1
            self.queue.done = self.place

    def elapsed_time(self, end: PlayedEvent) -> float:
        assert end.query()
        return 1000.0 * (end.place - self.place)


@pytest.fixture
def queue(monkeypatch) -> PlayedQueue:
    queue = PlayedQueue()
    monkeypatch.setattr("torch.cuda.Event", queue.event)
    monkeypatch.setattr("torch.cuda.current_stream", lambda device: None)
    return queue


def test_the_hosts_clock_times_a_cpu(monkeypatch):
    times = iter([10.0, 12.0, 20.0, 23.0, 24.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    watch = Stopwatch(torch.device("cpu"))
    with watch.phase("training"):
        pass
    with watch.phase("training"):
        assert watch.so_far() == {"training": 5.0}
    assert watch.seconds == {"training": 6.0}


def test_a_phase_of_a_gpu_is_not_waited_for_until_its_seconds_are_asked_for(queue):
    watch = Stopwatch(torch.device("cuda"))
    for _ in range(3):
        with watch.phase("training"):
            pass
    assert queue.waits == 0
    assert watch.seconds == {"training": 3.0}
    assert queue.waits == 3


def test_what_a_gpu_has_behind_it_is_added_up_without_waiting(queue):
    watch = Stopwatch(torch.device("cuda"))
    for _ in range(3):
        with watch.phase("training"):
            pass
        queue.done = queue.marks
    assert watch.seconds == {"training": 3.0} and queue.waits == 0


def test_work_of_the_host_beside_a_gpu_goes_by_the_clock(queue, monkeypatch):
    times = iter([1.0, 3.5])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    watch = Stopwatch(torch.device("cuda"))
    with watch.phase("matching"), watch.phase("ranking", host=True):
        pass
    assert watch.seconds == {"matching": 1.0, "ranking": 2.5}


def test_seconds_of_phases_under_way_count(queue):
    watch = Stopwatch(torch.device("cuda"))
    watch.add({"training": 10.0})
    with watch.phase("training"):
        assert watch.so_far() == {"training": 11.0}
    assert watch.seconds == {"training": 12.0}
