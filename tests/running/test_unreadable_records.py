"""A run whose record cannot be read is left as it is and fails; the others are run."""

from __future__ import annotations

import dataclasses

import pytest
from made_up_runs import both, cells, run

from bench.journal.record import RECORD, STARTED
from bench.running import cell, runner
from bench.running.ledger import Ledger
from bench.running.outcome import outcome_after
from bench.running.preflight import RunOptions, preflight
from bench.running.submission import sort_tasks
from bench.running.targets import local_target
from bench.study.definition import load_preset, load_study
from bench.study.plan import plan


@pytest.fixture
def tasks(tiny_data, tmp_path):
    """ViT and cosine on tiny data, ready to run; the first has a record that is none."""
    planned = plan(load_study("table2"), load_preset("tiny"), {}, ["ViT", "cosine"], ["msmt"])
    options = RunOptions(tmp_path, tiny_data / "standin-tiny", lambda _: local_target("cpu"))

    def ready():
        return preflight(planned, options)

    found = ready()
    found[0].folder.mkdir(parents=True)
    (found[0].folder / RECORD).write_text("{")
    assert ready()[0].cell == found[0].cell, "it is no reason to refuse them all"
    return found


def test_that_run_alone_fails(tasks, tmp_path):
    finished = {"name": tasks[1].cell, "config": tasks[1].config}
    run(tmp_path, cells("cosine", preset="tiny")[0], both((0.3, 0.2), (0.7, 0.4)), **finished)
    told = []
    outcomes = runner.run_all(tasks, jobs=1, report=told.append)
    assert outcomes == told and [outcome.failed for outcome in outcomes] == [True, False]
    assert "record.json is damaged" in outcomes[0].reason and "move its folder away" in outcomes[0].reason
    assert outcomes[1].skipped and [path.name for path in tasks[0].folder.iterdir()] == [RECORD]
    assert (tasks[0].folder / RECORD).read_text() == "{"


def test_a_record_that_is_damaged_meanwhile_fails_that_run_alone(tasks, capfd):
    """In the run's own process, and where its end is looked at."""
    assert cell.run_cell(tasks[0]) == cell.FAILED
    said = capfd.readouterr().err
    assert "record.json is damaged" in said and "Traceback" not in said
    for code in (0, 1, -9):
        outcome = outcome_after(tasks[0], code)
        assert outcome.failed and "record.json is damaged" in outcome.reason
    assert (tasks[0].folder / RECORD).read_text() == "{"


def test_it_is_not_submitted(tasks, tmp_path):
    tasks = [dataclasses.replace(task, results=tmp_path.absolute()) for task in tasks]

    def sort():
        return sort_tasks(tasks, Ledger(tmp_path, lambda: pytest.fail("no job is unsettled")))

    found = sort()
    assert [task.label for task in found.open] == ["cosine"] and len(found.unreadable) == 1
    assert "record.json is damaged" in found.unreadable[0]
    (tasks[0].folder / RECORD).unlink()
    (tasks[0].folder / STARTED).write_text("{")
    assert STARTED in sort().unreadable[0]
