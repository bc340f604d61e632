"""What cannot be written ends a submission in one sentence, and keeps no cut-off run from its place in the queue."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.running.cell import INTERRUPTED
from bench.running.outcome import Outcome
from bench.running.submitted import read_account
from slurm import submission, worker
from slurm.queue import JobInfo
from slurm.snapshot import freeze, keep_head


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", ["code", "account", "job", "pickle", "srun"])
def test_a_submission_that_cannot_be_written_is_one_sentence_and_leaves_no_job(
    submit, played_slurm, monkeypatch, tmp_path, step
):
    calls = played_slurm()
    if step == "code":
        monkeypatch.setattr("slurm.snapshot.shutil.copyfile", full)
    elif step == "account":
        monkeypatch.setattr("slurm.submission.write_account", full)
    elif step == "job":
        monkeypatch.setattr("slurm.submission.write_job", full)
    elif step == "pickle":
        monkeypatch.setattr("submitit.core.utils.cloudpickle_dump", full)
    else:
        (tmp_path / "bin" / "srun").unlink()
        monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    found = submit()
    assert found.code == 2 and len(found.err.splitlines()) == 1, found.err
    assert ("srun" if step == "srun" else f"{tmp_path}/results") in found.err
    assert step == "srun" or "No space left on device" in found.err
    assert not calls.exists() and not list(tmp_path.glob("results/runs/*/job.json"))


def test_jobs_that_are_submitted_are_told_even_if_their_ids_are_not_kept(submit, played_slurm, monkeypatch, tmp_path):
    played_slurm()
    accounts, before = [], submission.write_account

    def refuse_the_second(folder, account):
        accounts.append(account)
        (full if len(accounts) > 1 else before)(folder, account)

    monkeypatch.setattr(submission, "write_account", refuse_the_second)
    found = submit()
    assert found.code == 0 and "job 7" in found.out
    [kept] = (tmp_path / "results").glob("submissions/*/submission.json")
    assert read_account(kept.parent).jobs == [] and accounts[1].jobs == ["7"]


def test_code_that_cannot_be_copied_is_named(tmp_path, monkeypatch):
    (tmp_path / "snapshots").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot copy the code to .*snapshots"):
        freeze(tmp_path)
    head = tmp_path / "mine.py"
    head.write_text("one")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "heads").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot copy .*mine.py to"):
        keep_head(str(head), tmp_path / "code")


class Task:
    cell, folder, device = "vit-msmt-s0", Path("/nowhere"), "cpu"


@pytest.fixture
def requeued(monkeypatch) -> list[str]:
    """The jobs that go back into the queue. The run is cut off by SLURM, its time being up."""
    found: list[str] = []
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(worker.queue, "show_job", lambda identity: JobInfo("TIMEOUT", 0, 0.0, None))
    monkeypatch.setattr(worker.queue, "requeue", found.append)
    monkeypatch.setattr(worker._Supervisor, "_run_once", lambda self: INTERRUPTED)
    before = {number: signal.getsignal(number) for number in worker.STOP_SIGNALS}
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_cut_off_run_goes_back_into_the_queue_though_nothing_can_be_written(requeued, monkeypatch):
    monkeypatch.setattr(worker, "restate", full)
    nowhere = io.StringIO()
    nowhere.write = full
    monkeypatch.setattr(sys, "stdout", nowhere)
    monkeypatch.setattr(sys, "stderr", nowhere)
    assert worker.run_job(Task(), Path.cwd()) == "timed out"
    assert requeued == ["7"]


@pytest.mark.parametrize("variable", ["SLURM_RESTART_COUNT", "BENCH_SIGNAL_SECONDS"])
def test_variables_that_hold_no_number_are_done_without(requeued, monkeypatch, variable):
    monkeypatch.setenv(variable, "many")
    assert worker.run_job(Task(), Path.cwd()) == "timed out"


def test_a_machine_without_room_for_another_process_is_named_and_signals_get_through_again(monkeypatch, capsys):
    monkeypatch.setattr("os.fork", full)
    assert worker._Supervisor(Task(), Path.cwd())._run_once() is None
    assert "cannot start the run's process: No space left on device" in capsys.readouterr().err
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & set(worker.STOP_SIGNALS)


def test_a_process_that_is_ended_by_a_signal_without_a_name_is_started_again(monkeypatch, capsys):
    codes = iter([-40, -9, 0])
    monkeypatch.setattr(worker, "outcome_after", lambda task, code: Outcome(task, None))
    monkeypatch.setattr(worker._Supervisor, "_run_once", lambda self: next(codes))
    assert worker._Supervisor(Task(), Path.cwd()).run() == "done"
    told = capsys.readouterr().err
    assert "ended by signal 40; starting it again" in told and "ended by SIGKILL" in told
