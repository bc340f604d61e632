"""A job and a debugger's run are judged by what lies on disk, as any other run. No SLURM is needed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from bench.journal.record import read_record, write_record
from bench.running.cell import FAILED, INTERRUPTED
from bench.running.failures import failed_record
from bench.system.signals import Interrupted, Interruption
from slurm import local, worker

DEBUG = ("run", "--cluster", "debug", "--variants", "ViT,cosine,Transformer", "--preset", "tiny")


@pytest.fixture
def debug(bench, tiny_data, tmp_path, monkeypatch):
    """`--cluster debug` of three rows, whose runs do what is played; and the rows that were run."""
    ran = []

    def call(play):
        def run_cell(task):
            ran.append(task.label)
            return play(task)

        monkeypatch.setattr(local, "run_cell", run_cell)
        return bench(*DEBUG, "--data-dir", tiny_data, "--results", tmp_path), ran

    return call


def fails(task) -> int:
    write_record(task.folder, failed_record(task, None, "training", "the dog ate it"))
    return FAILED


def test_a_run_that_fails_under_the_debugger_is_exit_code_1_and_the_others_go_on(debug):
    found, ran = debug(fails)
    assert found.code == 1 and len(ran) == 3
    assert found.out.count("FAILED: training: the dog ate it") == 3 and "3 of 3 runs failed: ViT" in found.err


def test_one_that_ends_without_a_word_has_failed_too(debug):
    found, _ = debug(lambda task: 0)
    assert found.code == 1 and "ended with code 0 without a word" in found.out


def test_ctrl_c_under_the_debugger_ends_all(debug):
    def play(task) -> int:
        with pytest.raises(Interrupted), Interruption().watching():
            signal.raise_signal(signal.SIGINT)
        return INTERRUPTED

    found, ran = debug(play)
    assert found.code == 130 and ran == ["ViT"] and "ended by SIGINT" in found.err


@pytest.mark.parametrize("code", [0, 1])
def test_a_job_whose_process_ends_without_a_word_has_failed(code, bench, tiny_data, tmp_path, monkeypatch, capfd):
    """It is not started again: only what a signal ended may have been the machine's fault."""
    tasks = []
    monkeypatch.setattr(local, "run_cell", lambda task: tasks.append(task) or fails(task))
    bench("run", "--cluster", "debug", "--variants", "ViT", "--preset", "tiny", "--data-dir", tiny_data, "--results",
          tmp_path)  # fmt: skip
    [task] = tasks
    (task.folder / "record.json").unlink()
    monkeypatch.setattr(worker._Supervisor, "_run_once", lambda self: code)
    monkeypatch.setattr(worker.signal, "signal", lambda number, handler: None)
    assert worker.run_job(task, Path.cwd()).startswith("failed: unknown: its process ended with code")
    assert read_record(task.folder).status == "failed" and f"code {code}" in capfd.readouterr().out
