"""A failure is recorded with its reason, whatever goes wrong meanwhile; what cannot be found out is left unknown."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata

import pytest
import torch

from bench.errors import CellFailed
from bench.journal import provenance
from bench.journal.heartbeat import Heartbeat, read_heartbeat, write_heartbeat
from bench.journal.record import RECORD, Failure, read_record, write_record
from bench.running import cell
from bench.running.cell import ERROR_LOG, FAILED, MOST_DEATHS, run_cell
from bench.running.failures import failed_record, reason_of
from bench.running.task import CellTask
from bench.study.definition import load_preset, load_study
from bench.study.plan import plan, resolve


class Odd(Exception):
    """Has nothing to say of itself."""

    def __str__(self) -> str:
        raise KeyError("message")


@pytest.fixture
def task(tmp_path) -> Iterator[CellTask]:
    """A run that fails as soon as it looks for its data. It runs in this process."""
    planned = plan(load_study("table2"), load_preset("tiny"), {}, ["cosine"])[0]
    yield CellTask(
        cell="cosine-msmt-s0-000000000000",
        label="cosine",
        config=resolve(planned.config, "cpu"),
        numerics=planned.numerics,
        fingerprint="f" * 64,
        standin=None,
        release="",
        results=tmp_path / "results",
        data_dir=tmp_path / "nothing",
        head="cosine",
        tests=("market",),
        threads=1,
    )
    torch.use_deterministic_algorithms(False)


def reason(task: CellTask) -> str:
    record = read_record(task.folder)
    assert record.status == "failed" and record.failure.phase == "data"
    assert read_heartbeat(task.folder).state == "failed"
    return record.failure.reason


def test_a_failure_has_record_traceback_and_heartbeat(task):
    assert run_cell(task) == FAILED
    assert "MSMT17" in reason(task) and "Traceback" in (task.folder / ERROR_LOG).read_text()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Odd(), "Odd: it cannot say why"),
        (ValueError("bytes of a path: \udcff"), r"ValueError: bytes of a path: \udcff"),
        (SystemExit(0), "SystemExit: 0"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (MemoryError(), "MemoryError"),
        (CellFailed("said plainly"), "said plainly"),
    ],
)
def test_whatever_is_raised_has_its_reason(fault, words, task, monkeypatch):
    def raise_it(*arguments, **named):
        raise fault

    monkeypatch.setattr(cell, "load_source", raise_it)
    assert run_cell(task) == FAILED
    assert reason(task) == words == reason_of(fault)


def test_a_traceback_that_cannot_be_written_costs_no_record(task):
    (task.folder / ERROR_LOG).mkdir(parents=True)
    assert run_cell(task) == FAILED
    assert "MSMT17" in reason(task)


@pytest.mark.parametrize(
    "place", [(provenance, "kernel_name"), (provenance, "code_version"), (provenance, "device_name"),
              (provenance, "cpu_name"), (metadata, "version")]
)  # fmt: skip
def test_where_it_comes_from_may_be_unknown(place, task, monkeypatch):
    def cannot_tell(*arguments):
        raise RuntimeError("nobody knows")

    monkeypatch.setattr(*place, cannot_tell)
    assert run_cell(task) == FAILED
    assert "MSMT17" in reason(task)
    account = read_record(task.folder).provenance
    assert "unknown" in (account.commit, account.device, account.cpu, account.versions["torch"]) or not account.kernel


def test_a_failure_that_cannot_be_written_down_is_told(task, monkeypatch, capsys):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cell, "write_record", full)
    assert run_cell(task) == FAILED
    told = capsys.readouterr().err
    assert "MSMT17" in told and "not recorded: OSError: [Errno 28] No space left on device" in told


def test_a_folder_that_cannot_be_made_or_a_record_that_cannot_be_read_is_told_and_left_alone(task, capsys):
    task.folder.parent.mkdir(parents=True)
    task.folder.touch()
    assert run_cell(task) == FAILED and "File exists" in capsys.readouterr().err
    task.folder.unlink()
    task.folder.mkdir()
    (task.folder / RECORD).write_text("{")
    assert run_cell(task) == FAILED and "is damaged" in capsys.readouterr().err
    assert (task.folder / RECORD).read_text() == "{"


def test_what_failed_before_does_not_stand_for_what_happens_now(task):
    """Asked for again, a run has its tries anew, and no more than these: its deaths count from then on."""
    task.folder.mkdir(parents=True)
    write_record(task.folder, failed_record(task, None, "training", "a broken node"))
    write_heartbeat(task.folder, Heartbeat(state="running", updated=0.0, host="h", pid=1, deaths=MOST_DEATHS))
    assert run_cell(task) == FAILED and "MSMT17" in reason(task)
    for number in range(MOST_DEATHS):
        (task.folder / RECORD).unlink(missing_ok=True)
        write_heartbeat(task.folder, Heartbeat(state="running", updated=0.0, host="h", pid=1, deaths=number))
        assert run_cell(task) == FAILED
    assert "without getting further" in read_record(task.folder).failure.reason


def test_a_reason_is_taken_back_when_the_run_begins_again(task, monkeypatch):
    kept = failed_record(task, None, "training", "a broken node")
    task.folder.mkdir(parents=True)
    seen = []
    monkeypatch.setattr(cell._Run, "execute", lambda run: seen.append(read_record(task.folder)))
    write_record(task.folder, kept)
    run_cell(task)
    reached = kept.model_copy(update={"weights_hash": "0" * 64, "failure": Failure(phase="testing", reason="dark")})
    write_record(task.folder, reached)
    run_cell(task)
    assert seen == [None, reached.model_copy(update={"status": "trained", "failure": None})]
