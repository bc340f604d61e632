"""`bench logs` shows what can be read, and says in one sentence what cannot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.journal.record import Started, write_started
from bench.running.jobs import Job, write_job


@pytest.fixture
def folder(tmp_path, tiny_config) -> Path:
    """A run with its own log, that of its job and that of a failure."""
    path = tmp_path / "runs" / "vit-msmt-s0-1"
    path.mkdir(parents=True)
    (path / "log.jsonl").write_text('{"epoch": 1}\n')
    (path / "error.log").write_text("Traceback\n")
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    (jobs / "7_0_log.out").write_text("started\n")
    account = Started(label="ViT", config=tiny_config("ViT"), numerics={})
    write_started(path, account)
    write_job(path, Job(cluster="slurm", name="b-0", folder=str(jobs), submitted=1.0))
    return path


@pytest.fixture
def logs(bench, tmp_path):
    return lambda: bench("logs", "vit", "--results", tmp_path)


def refuse(monkeypatch, path: Path, method: str, fault: type[OSError], text: str) -> None:
    """Let a call on one path fail, also for root."""
    before = getattr(Path, method)

    def call(self, *arguments, **options):
        if self == path:
            raise fault(1, text)
        return before(self, *arguments, **options)

    monkeypatch.setattr(Path, method, call)


@pytest.mark.parametrize("name", ["log.jsonl", "error.log", "7_0_log.out"])
def test_an_unreadable_log_is_named_and_the_others_are_shown(logs, folder, tmp_path, monkeypatch, name):
    log = next(tmp_path.rglob(name))
    refuse(monkeypatch, log, "read_text", PermissionError, "Permission denied")
    found = logs()
    assert found.code == 1 and found.err == "" and f"==> {log} <==\ncannot be read (Permission denied)\n" in found.out
    texts = {"log.jsonl": '{"epoch": 1}', "error.log": "Traceback", "7_0_log.out": "started"}
    assert all((text in found.out) == (other != name) for other, text in texts.items())


@pytest.mark.parametrize("method", ["stat", "read_text"])
@pytest.mark.parametrize("name", ["log.jsonl", "7_0_log.out"])
def test_a_log_that_vanishes_while_it_is_looked_at_is_left_out(logs, folder, tmp_path, monkeypatch, name, method):
    refuse(monkeypatch, next(tmp_path.rglob(name)), method, FileNotFoundError, "gone")
    found = logs()
    assert found.code == 0 and found.err == "" and name not in found.out and "error.log" in found.out


def test_something_else_of_a_logs_name_is_not_waited_for(logs, folder, tmp_path):
    (folder / "log.jsonl").unlink()
    os.mkfifo(folder / "log.jsonl")
    found = logs()
    assert found.code == 1 and "started" in found.out and "cannot be read (it is no file)" in found.out


def test_a_folder_of_runs_that_cannot_be_read_is_named(logs, folder, tmp_path, monkeypatch):
    refuse(monkeypatch, tmp_path / "runs", "iterdir", PermissionError, "Permission denied")
    found = logs()
    assert found.code == 2 and f"{tmp_path / 'runs'} cannot be" in found.err and "Permission denied" in found.err
