"""What `bench status`, `logs` and `cancel` tell of cells, wherever they run. No SLURM is needed: it is played."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.journal.heartbeat import Heartbeat, Place, read_heartbeat, record_stamp, write_heartbeat
from bench.journal.record import Started, cell_lock, read_records, write_started
from bench.running.jobs import Entry, Job, write_job
from bench.running.ledger import Ledger
from bench.study.definition import load_preset, load_study
from bench.study.plan import cell_id, plan, resolve


class PlayedScheduler:
    """Answers as a queue would."""

    def __init__(self, entries=(), ends=(), silent=False):
        self.entries, self.ended, self.silent, self.asked = dict(entries), dict(ends), silent, 0

    def queue(self):
        self.asked += 1
        if self.silent:
            raise UserError("squeue has not answered for 5 s: is SLURM's controller up?")
        return self.entries

    def ends(self, jobs):
        return self.ended

    def cancel(self, ids):
        raise AssertionError("nothing is to be cancelled here")


@pytest.fixture
def cell():
    return plan(load_study("table2"), load_preset("tiny"), {}, ["ViT"])[0]


@pytest.fixture
def folder(cell, tmp_path) -> Path:
    """The folder of the cell, as a submitter leaves it."""
    config = resolve(cell.config, "cpu")
    path = tmp_path / "runs" / cell_id(config, cell.numerics, "f" * 64)
    path.mkdir(parents=True)
    write_started(path, Started(label=cell.label, config=config, numerics=cell.numerics))
    return path


PLACE = Place(phase="training", epoch=3, epochs=15, done=30, total=150)


def beat(folder: Path, state: str, host: str = "elsewhere", age: float = 0.0, **more) -> None:
    heartbeat = Heartbeat(state=state, updated=time.time() - age, host=host, pid=1, place=PLACE, **more)
    write_heartbeat(folder, heartbeat)


def give_job(folder: Path, age: float = 100.0, **more) -> None:
    logs = folder.parent / "logs"
    logs.mkdir(exist_ok=True)
    write_job(folder, Job(cluster="slurm", name="b-1", index=4, folder=str(logs), submitted=time.time() - age, **more))


def told(cell, results: Path, scheduler=None):
    book = Ledger(results, lambda: scheduler or PlayedScheduler())
    return book.state_of(cell), book


QUEUED = {("b-1", 4): Entry("17_4", "PENDING", "Priority")}
RUNNING = {("b-1", 4): Entry("17_4", "RUNNING", "None")}


def test_a_cell_without_folder_or_job_is_missing(cell, folder, tmp_path):
    assert told(cell, tmp_path / "nothing")[0].kind == "missing"
    assert told(cell, tmp_path)[0].kind == "missing"


def test_a_job_that_waits_is_queued(cell, folder, tmp_path):
    give_job(folder)
    assert str(told(cell, tmp_path, PlayedScheduler(QUEUED))[0]) == "queued"


def test_a_fresh_heartbeat_is_believed_before_the_queue(cell, folder, tmp_path):
    give_job(folder)
    beat(folder, "running", seconds_left=3723.0)
    scheduler = PlayedScheduler(silent=True)
    state, book = told(cell, tmp_path, scheduler)
    assert str(state) == "running, epoch 3 of 15, 20 %, 1:02:03 left"
    assert scheduler.asked == 0 and book.notes == []


def test_a_run_that_left_and_waits_again_is_preempted(cell, folder, tmp_path):
    give_job(folder)
    beat(folder, "preempted")
    for state in ("COMPLETING", "PENDING"):
        entries = {("b-1", 4): Entry("17_4", state, "None")}
        assert str(told(cell, tmp_path, PlayedScheduler(entries))[0]) == "preempted, epoch 3 of 15, 20 %"


def test_a_run_whose_time_was_up_is_queued_again(cell, folder, tmp_path):
    give_job(folder)
    beat(folder, "timed out")
    assert str(told(cell, tmp_path, PlayedScheduler(QUEUED))[0]) == "queued, epoch 3 of 15, 20 %"


def test_a_job_that_died_without_a_word_is_failed_with_its_last_place_and_log(cell, folder, tmp_path):
    give_job(folder, age=7200)
    beat(folder, "running", age=3600)
    log = folder.parent / "logs" / "17_4_0_log.err"
    log.write_text("something\nslurmstepd: error: Detected 1 oom_kill event\n")
    state, _ = told(cell, tmp_path, PlayedScheduler())
    assert state.kind == "failed" and "died without a word" in state.reason and "epoch 3 of 15" in state.reason
    assert "elsewhere" in state.reason and state.log == log


def test_the_accounts_say_how_it_died_where_there_are_any(cell, folder, tmp_path):
    give_job(folder, age=7200)
    beat(folder, "running", age=3600)
    state, _ = told(cell, tmp_path, PlayedScheduler(ends={("b-1", 4): "OUT_OF_MEMORY"}))
    assert "SLURM: out of memory" in state.reason


def test_a_silent_process_whose_job_still_runs_is_running(cell, folder, tmp_path):
    give_job(folder, age=7200)
    beat(folder, "running", age=3600)
    assert told(cell, tmp_path, PlayedScheduler(RUNNING))[0].kind == "running"


def test_a_job_that_left_nothing_hints_at_a_folder_that_is_not_shared(cell, folder, tmp_path):
    give_job(folder)
    state, _ = told(cell, tmp_path, PlayedScheduler(ends={("b-1", 4): "FAILED"}))
    assert state.kind == "failed" and "is the results folder shared with the nodes?" in state.reason


def test_scancel_is_seen_as_cancelled(cell, folder, tmp_path):
    give_job(folder)
    entry = {("b-1", 4): Entry("17_4", "CANCELLED", "None")}
    assert told(cell, tmp_path, PlayedScheduler(entry))[0].kind == "cancelled"
    assert told(cell, tmp_path, PlayedScheduler(ends={("b-1", 4): "CANCELLED by 0"}))[0].kind == "cancelled"
    beat(folder, "cancelled")
    assert told(cell, tmp_path)[0].kind == "cancelled"


def test_nothing_hangs_or_fails_when_the_queue_is_silent(cell, folder, tmp_path):
    give_job(folder)
    state, book = told(cell, tmp_path, PlayedScheduler(silent=True))
    assert state.kind == "queued" and "has not answered" in book.notes[0]


def test_a_process_that_died_on_this_machine_is_told_from_a_live_one_at_once(cell, folder, tmp_path):
    from bench.journal.heartbeat import this_host

    beat(folder, "running", host=this_host())
    assert told(cell, tmp_path)[0].kind == "interrupted"
    with cell_lock(folder):
        assert told(cell, tmp_path)[0].kind == "running"


def test_a_failed_cell_that_was_submitted_again_is_queued(cell, folder, tmp_path):
    (folder / "record.json").write_text("{}")
    beat(folder, "failed", reason="training: the dog ate it", record_stamp=record_stamp(folder))
    give_job(folder, age=100)
    assert told(cell, tmp_path)[0].reason == "training: the dog ate it"
    give_job(folder, age=-100)
    assert told(cell, tmp_path, PlayedScheduler(QUEUED))[0].kind == "queued"


@pytest.mark.slow
def test_a_record_that_the_heartbeat_does_not_tell_of_is_read(bench, tiny_data, tmp_path):
    command = ("--variants", "ViT", "--preset", "tiny", "--results", tmp_path, "--data-dir", tiny_data)
    assert bench("run", *command).code == 0
    [record] = read_records(tmp_path)
    folder = tmp_path / "runs" / record.cell
    assert read_heartbeat(folder).record_stamp == record_stamp(folder)
    values = json.loads((folder / "record.json").read_text())
    values |= {"status": "failed", "failure": {"phase": "testing", "reason": "by hand"}}
    (folder / "record.json").write_text(json.dumps(values))
    assert "testing: by hand" in bench("status", *command).out
    (folder / "heartbeat.json").unlink()
    assert "testing: by hand" in bench("status", *command).out


def test_a_damaged_heartbeat_is_passed_over(cell, folder, tmp_path):
    (folder / "heartbeat.json").write_text("{")
    assert told(cell, tmp_path)[0].kind == "missing"


@pytest.fixture
def thousand(tmp_path) -> Path:
    """A results folder of 1,008 cells in all states, with jobs."""
    for number, cell in enumerate(plan(load_study("table2"), load_preset("tiny"), {}, seeds=range(112))):
        config = resolve(cell.config, "cpu")
        folder = tmp_path / "runs" / cell_id(config, cell.numerics, "f" * 64)
        folder.mkdir(parents=True)
        write_started(folder, Started(label=cell.label, config=config, numerics=cell.numerics))
        (folder / ".lock").touch()
        state = ("running", "done", "preempted", "failed", "timed out")[number % 5]
        if state in ("done", "failed"):
            (folder / "record.json").write_text("{}")
        write_job(folder, Job(cluster="slurm", name="b-1", index=number, folder=str(tmp_path), submitted=1.0))
        beat(folder, state, record_stamp=record_stamp(folder))
    return tmp_path


@pytest.mark.slow
def test_status_of_a_thousand_cells_answers_within_two_seconds(thousand, tmp_path):
    """With a squeue that knows them all."""
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    rows = "".join(f"{n}|7_{n}|PENDING|Priority|b-1\n" for n in range(1008))
    (tmp_path / "rows").write_text(rows)
    squeue.write_text(f"#!/bin/sh\ncat {tmp_path / 'rows'}\n")
    squeue.chmod(0o755)
    environment = {**os.environ, "PATH": f"{squeue.parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "bench", "status", "--preset", "tiny", "--seeds", "112", "--results", thousand]
    times = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        times.append(time.perf_counter() - start)
    assert done.stdout.splitlines()[-1] == "202 of 1008 done, 202 running, 202 preempted, 201 queued, 201 failed"
    assert min(times) < 2


@pytest.mark.slow
def test_logs_show_what_a_failed_run_wrote(bench, tiny_data, tmp_path):
    head = tmp_path / "failing.py"
    head.write_text(
        "from variants import vit\nclass Failing(vit.ViT):\n"
        '    """Fails."""\n'
        "    def match(self, query, gallery):\n"
        "        if self.training:\n            raise RuntimeError('the dog ate the scores')\n"
        "        return super().match(query, gallery)\n"
    )
    places = ("--results", tmp_path / "r", "--data-dir", tiny_data)
    assert bench("run", "--variants", f"{head},cosine", "--preset", "tiny", *places).code == 1
    found = bench("logs", "failing-msmt", "--results", tmp_path / "r")
    assert found.code == 0 and "the dog ate the scores" in found.out and "Traceback" in found.out
    status = bench("status", "--variants", str(head), "--preset", "tiny", *places)
    assert "the dog ate the scores" in status.out and "error.log" in status.out
    assert "loss" in bench("logs", "cosine", "--results", tmp_path / "r").out


def test_a_run_that_is_not_there_is_told_by_the_nearest_name(bench, tmp_path):
    for name in ("vit-msmt-s0-aaaa", "vit-msmt-s1-bbbb"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    found = bench("logs", "vit-msmt-s7-aaaa", "--results", tmp_path)
    assert found.code == 2 and "did you mean 'vit-msmt-s0-aaaa'" in found.err
    found = bench("logs", "vit", "--results", tmp_path)
    assert found.code == 2 and "2 runs begin with 'vit'" in found.err


def test_watch_shows_until_nothing_runs(bench, tmp_path):
    found = bench("status", "--preset", "tiny", "--watch", "1", "--results", tmp_path)
    assert found.code == 0 and found.out.count("0 of 9 done") == 1
