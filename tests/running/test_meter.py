"""A run measures in its own process what it takes of its machine."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_up_runs import both, cells, run
from waiting import wait_for

from bench.journal.heartbeat import read_heartbeat
from bench.journal.pulse import Pulse
from bench.journal.record import read_records
from bench.journal.usage import Usage
from bench.running import cell, meter
from bench.running.meter import RunMeter, gpu_busy
from bench.stopwatch import reset_peak

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")
MIB = 2**20
EARLIER = Usage(
    seconds=100.0, cpu_seconds=50.0, cpus=4, host_bytes=2**50, gpu_bytes=3, gpu_total_bytes=9, gpu_busy=0.5,
    gpu_samples=3,
)  # fmt: skip


def test_time_of_the_clock_and_of_all_cpus_is_counted_on_from_earlier_processes(monkeypatch):
    times = iter([10.0, 15.0])
    monkeypatch.setattr(meter, "time", SimpleNamespace(monotonic=lambda: next(times)))
    spent = iter([os.times_result((1, 2, 3, 4, 0)), os.times_result((2, 4, 3, 5, 0))])
    monkeypatch.setattr(meter.os, "times", lambda: next(spent))
    found = RunMeter(CPU, EARLIER).usage()
    assert (found.seconds, found.cpu_seconds) == (105.0, 54.0)
    assert (found.host_bytes, found.gpu_bytes, found.gpu_busy, found.gpu_samples) == (2**50, 3, 0.5, 3)


def test_a_peak_outlives_the_resets_of_the_phases_behind_it():
    """What training held is known when a test has begun its own measurement."""
    followed = RunMeter(CPU)
    before = followed.usage().host_bytes
    held = np.ones(64 * MIB, np.uint8)
    held[:] = 2
    del held
    reset_peak(CPU)
    after = followed.usage().host_bytes
    assert after - before >= 60 * MIB
    assert RunMeter(CPU).usage().host_bytes <= after - 30 * MIB  # the next run of this process begins anew


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Has nvidia-smi answer; returns the file with the arguments of its calls."""

    def play(body: str) -> Path:
        command = tmp_path / "nvidia-smi"
        command.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{body}\n')
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return tmp_path / "calls"

    return play


def test_the_driver_says_how_busy_a_gpu_is(driver, monkeypatch):
    calls = driver("echo 37")
    assert gpu_busy("12-ab") == 0.37 and "--id=GPU-12-ab" in calls.read_text()
    for nothing in ("echo '[N/A]'", "echo no devices; exit 6", "exit 0"):
        driver(nothing)
        assert gpu_busy("12-ab") is None
    monkeypatch.setattr(meter, "PATIENCE", 0.1)
    driver("exec sleep 5")
    assert gpu_busy("12-ab") is None
    monkeypatch.setenv("PATH", "/nowhere")
    assert gpu_busy("12-ab") is None


@pytest.fixture
def played_gpu(monkeypatch):
    """A GPU of 80 MiB, of which PyTorch has held 30 at a time; returns the clock that samples go by."""
    clock = [0.0]
    monkeypatch.setattr(meter, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    properties = SimpleNamespace(uuid="12-ab", total_memory=80 * MIB)
    for name, answer in {
        "is_initialized": lambda: True,
        "reset_peak_memory_stats": lambda device: None,
        "max_memory_reserved": lambda device: 30 * MIB,
        "get_device_properties": lambda device: properties,
    }.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    return clock


def test_samples_of_a_gpu_are_spread_over_the_run_and_averaged(played_gpu, driver):
    followed, clock = RunMeter(GPU, EARLIER), played_gpu
    driver("echo 100")
    for clock[0] in (0.0, 10.0, 20.0):
        followed.sample()
    found = followed.usage()
    assert (found.gpu_samples, found.gpu_busy) == (4, 0.625)  # three of a half, and one
    assert (found.gpu_bytes, found.gpu_total_bytes) == (30 * MIB, 80 * MIB)
    clock[0] = meter.SAMPLE_SECONDS
    followed.sample()
    assert followed.usage().gpu_samples == 5


def test_a_driver_that_does_not_know_is_not_asked_again(played_gpu, driver):
    calls = driver("echo '[N/A]'")
    followed, clock = RunMeter(GPU), played_gpu
    for clock[0] in (0.0, 100.0, 200.0):
        followed.sample()
    assert len(calls.read_text().splitlines()) == 1
    assert followed.usage().gpu_busy is None


def test_heartbeats_tell_it_while_a_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.journal.pulse.BEAT_SECONDS", 0.01)
    pulse, sampled = Pulse(tmp_path), []
    pulse.meter = SimpleNamespace(sample=lambda: sampled.append(1), usage=lambda: EARLIER)
    with pulse.beating("", 0):
        wait_for("a sample", lambda: sampled)
    assert read_heartbeat(tmp_path).usage == EARLIER


def test_a_finished_run_keeps_it_where_its_heartbeat_is_lost(tmp_path):
    record = run(tmp_path, cells("TransMatcher")[0], both((0.3, 0.2), (0.7, 0.4)), usage=EARLIER)
    folder = tmp_path / "runs" / record.cell
    task = SimpleNamespace(folder=folder, device="cpu", is_finished=lambda found: found == record)
    assert cell._run_locked(task, Pulse(folder)) == cell.DONE
    found = read_heartbeat(folder).usage
    assert found.seconds == pytest.approx(EARLIER.seconds, abs=5) and found.gpu_bytes == EARLIER.gpu_bytes


def test_each_run_tells_what_it_took(finished):
    for record in read_records(finished):
        timed = record.training_seconds + sum(sum(test.seconds.values()) for test in record.tests)
        last = read_heartbeat(finished / "runs" / record.cell).usage
        assert last.seconds >= record.usage.seconds >= 0.9 * timed
        assert 0 < record.usage.cpu_seconds <= last.cpu_seconds
        assert record.usage.host_bytes >= record.peak_bytes > 0
        assert record.usage.gpu_bytes is None and record.usage.gpu_busy is None
