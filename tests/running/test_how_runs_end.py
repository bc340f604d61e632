"""A run is done when all that was asked for is there, however its process ended, and whoever is asked."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import made_up_runs
import pytest

from bench.journal.heartbeat import Heartbeat, write_heartbeat
from bench.journal.record import RECORD, Record, Started, read_record, write_started
from bench.report.collect import collect
from bench.report.layout import tables
from bench.running.cell import BUSY, DONE, FAILED, INTERRUPTED
from bench.running.ledger import Ledger
from bench.running.outcome import outcome_after, outcome_before
from bench.running.submission import sort_tasks
from bench.running.task import CellTask
from bench.study.definition import load_preset, load_study
from bench.study.plan import plan, resolve

BOTH = made_up_runs.both((0.3, 0.2), (0.7, 0.4))


@pytest.fixture
def task(tmp_path) -> CellTask:
    """ViT of the preset tiny, asked for on both test sets."""
    cell = plan(load_study("table2"), load_preset("tiny"), {}, ["ViT"])[0]
    made = CellTask(
        cell="vit-msmt-s0-000000000000",
        label="ViT",
        config=resolve(cell.config, "cpu"),
        numerics=cell.numerics,
        fingerprint="f" * 64,
        standin=None,
        release="",
        results=tmp_path,
        data_dir=tmp_path,
        head="vit",
        tests=("cuhk03", "market"),
        threads=1,
        preset="tiny",
    )
    made.folder.mkdir(parents=True)
    write_started(made.folder, Started(label=made.label, config=made.config, numerics=made.numerics))
    return made


def leave(task: CellTask, status: str, tests: list, **changes) -> Record:
    """The record of a run of the task."""
    cell = plan(load_study("table2"), load_preset("tiny"), {}, ["ViT"])[0]
    values = {"config": task.config, "preset": "tiny", "status": status, **changes}
    return made_up_runs.run(task.results, cell, tests, task.cell, **values)


UNFINISHED = [
    pytest.param("trained", [], id="before its tests"),
    pytest.param("trained", BOTH[:1], id="between its tests"),
    pytest.param("done", [], id="as an earlier version said it"),
]


@pytest.mark.parametrize(("status", "tests"), UNFINISHED)
@pytest.mark.parametrize("exit_code", [0, 1, FAILED, -9, -6])
def test_a_process_that_ends_without_results_or_a_reason_has_failed(status, tests, exit_code, task):
    """Whatever code it ends with: a library that ends the process by itself says 0 or 1."""
    before = leave(task, status, tests)
    outcome = outcome_after(task, exit_code)
    assert outcome.failed and "its process" in outcome.reason
    record = read_record(task.folder)
    assert record.status == "failed" and record.failure.reason in outcome.reason
    assert record.tests == before.tests and record.weights_hash == before.weights_hash


def test_a_process_that_ends_without_a_record_has_one_that_says_so(task):
    assert outcome_after(task, 0).failed
    record = read_record(task.folder)
    assert record.status == "failed" and "ended with code 0 without a word" in record.failure.reason
    assert record.weights_hash is None


def test_the_reason_of_an_earlier_failure_does_not_stand_for_this_one(task):
    leave(task, "failed", BOTH[:1], weights_hash="0" * 64, failure={"phase": "testing", "reason": "a broken node"})
    assert "a broken node" in outcome_after(task, FAILED).reason
    assert "SIGKILL" in outcome_after(task, -9).reason


@pytest.mark.parametrize("exit_code", [DONE, 1, -15])
def test_what_has_all_results_is_done_however_its_process_ended(exit_code, task):
    leave(task, "done", BOTH)
    outcome = outcome_after(task, exit_code)
    assert not outcome.failed and outcome.record.status == "done" and not outcome.skipped


@pytest.mark.parametrize("exit_code", [DONE, FAILED, INTERRUPTED, 1, -9])
def test_a_test_for_lists_that_ends_early_leaves_the_record_as_it_was(exit_code, task):
    before = leave(task, "done", [result.model_copy(update={"lists_refused": "no room"}) for result in BOTH])
    again = dataclasses.replace(task, lists=True)
    assert outcome_before(task).skipped and outcome_before(again) is None
    outcome = outcome_after(again, exit_code)
    expected = {INTERRUPTED: "interrupted", 1: "its process ended with code 1", -9: "SIGKILL"}
    assert outcome.failed and expected.get(exit_code, "cuhk03: no room; market: no room") in outcome.reason
    assert read_record(task.folder) == before


def test_what_is_only_to_be_tested_again_is_not_submitted_untrained(task):
    again = dataclasses.replace(task, lists=True, results=task.results.absolute())
    book = Ledger(task.results, lambda: pytest.fail("no job is unsettled"))
    assert sort_tasks([again], book).untrained == [again] and sort_tasks([task], book).open == [task]
    assert outcome_before(again).skipped and "not trained" in outcome_before(again).reason


def test_a_further_test_set_makes_it_unfinished(task):
    leave(task, "done", BOTH)
    more = dataclasses.replace(task, tests=("cuhk03", "market", "msmt"))
    assert task.is_finished(read_record(task.folder)) and not more.is_finished(read_record(task.folder))
    assert outcome_before(task).skipped and outcome_before(more) is None
    baselines = dataclasses.replace(task, untrained=True)
    assert outcome_before(baselines) is None and outcome_after(baselines, 0).failed


def test_busy_and_interrupted_runs_are_no_failures_of_record(task):
    leave(task, "trained", BOTH[:1])
    assert outcome_after(task, BUSY).skipped
    assert "goes on where it was" in outcome_after(task, INTERRUPTED).reason
    assert read_record(task.folder).status == "trained"


def test_a_failure_that_cannot_be_recorded_is_told_all_the_same(task, monkeypatch):
    def full(path, content, durable=True):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bench.journal.record.write_atomically", full)
    reason = outcome_after(task, 0).reason
    assert "ended with code 0" in reason and "not recorded: OSError: [Errno 28] No space left on device" in reason


@pytest.mark.parametrize(("status", "tests"), UNFINISHED)
def test_status_and_report_do_not_count_a_run_without_its_tests(status, tests, task):
    record = leave(task, status, tests)
    write_heartbeat(task.folder, Heartbeat(state="interrupted", updated=0.0, host="h", pid=1))
    cell = plan(load_study("table2"), load_preset("tiny"), {}, ["ViT"])[0]
    assert Ledger(task.results, lambda: None).state_of(cell).kind == "interrupted"
    [board] = collect([record], ["table2"])
    accuracy = tables(board)[0]
    assert made_up_runs.entry(accuracy, "ViT", "seeds").startswith("0/1")
    assert "Seed 0 trained, without all tests yet; `bench run` again goes on." in accuracy.footnotes


def test_a_trained_run_whose_heartbeat_is_lost_is_interrupted(task):
    leave(task, "trained", BOTH[:1])
    cell = plan(load_study("table2"), load_preset("tiny"), {}, ["ViT"])[0]
    assert Ledger(task.results, lambda: None).state_of(cell).kind == "interrupted"


def test_records_of_earlier_versions_are_read_as_before(task):
    done = leave(task, "done", BOTH)
    assert done.is_done() and done.is_done(("cuhk03",)) and not done.is_done(("msmt",))
    assert done.lacking(("msmt", "market"), ("trained", "untrained")) == [
        ("msmt", "trained"), ("msmt", "untrained"), ("market", "untrained"),
    ]  # fmt: skip


ENDS = """
import os
from pathlib import Path
from variants import vit
class Ends(vit.ViT):
    'Ends its process in its first test.'
    def match(self, query, gallery):
        if not self.training and len(gallery) == 27:
            {action}
        return super().match(query, gallery)
"""


@pytest.fixture
def ends(tmp_path):
    """A head file that does something in the test on market, which has 27 gallery images."""

    def make(action: str) -> Path:
        path = tmp_path / "ends.py"
        path.write_text(ENDS.format(action=action))
        return path

    return make


@pytest.mark.slow
@pytest.mark.parametrize("action", ["os._exit(0)", "raise SystemExit(0)"])
def test_a_run_that_ends_itself_in_its_test_is_told_by_every_command(action, ends, bench, tiny_data, tmp_path):
    results = tmp_path / "results"
    select = ("--variants", f"{ends(action)},cosine", "--preset", "tiny")
    places = ("--data-dir", tiny_data, "--results", results)
    found = bench("run", *select, *places, "--test", "market")
    assert found.code == 1 and "1 done, 0 skipped, 1 failed" in found.out and "FAILED" in found.out
    [folder] = results.glob("runs/ends-*")
    record = read_record(folder)
    assert record.status == "failed" and record.weights_hash and record.tests == []
    assert "1 of 2 done, 1 failed" in bench("status", *select, *places).out
    assert "2 runs" in (report := bench("report", "--results", results)).out and "1 done, 1 failed" in report.out


@pytest.mark.slow
def test_a_damaged_record_that_appears_meanwhile_fails_that_row_alone(bench, ends, tiny_data, tmp_path):
    """Written by the run itself, as its last act, over whatever was there."""
    results = tmp_path / "results"
    action = f"[p.write_text('?') for p in Path({str(results)!r}).glob('runs/ends-*/{RECORD}')]"
    select = ("--variants", f"{ends(action + '; os._exit(0)')},cosine,ViT", "--preset", "tiny", "--jobs", "1")
    found = bench("run", *select, "--data-dir", tiny_data, "--results", results, "--test", "market")
    assert found.code == 1 and "2 done, 0 skipped, 1 failed" in found.out
    assert found.out.count("record.json is damaged") == 2  # as it comes, and in the end
    [damaged] = results.glob(f"runs/ends-*/{RECORD}")
    assert damaged.read_text() == "?"
