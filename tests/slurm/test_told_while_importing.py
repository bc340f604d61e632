"""A job that is told to leave before its run has begun passes that on, and the run leaves for its next start."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from bench.running.task import CellTask
from slurm import worker

pytestmark = pytest.mark.slow


def job(task: CellTask, answer: Connection) -> None:
    asked = []
    worker._ask_and_decide = lambda identity, name: asked.append(name) or worker.Decision("timed out", False, "")
    signal.pthread_sigmask(signal.SIG_BLOCK, worker.STOP_SIGNALS)
    os.kill(os.getpid(), signal.SIGUSR2)
    answer.send((worker.run_job(task, Path.cwd()), asked))


def test_the_run_is_told(slurm_task, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=job, args=(slurm_task, theirs))
    process.start()
    process.join(60)
    assert ours.poll() and ours.recv() == ("timed out", ["SIGUSR2"])
    assert not (slurm_task.folder / "record.json").exists()
