"""A cell that was begun with other CPUs or in another precision is the same cell, unless one says otherwise."""

from __future__ import annotations

import os

import made_up_runs
import pytest

from bench.journal.heartbeat import Heartbeat, write_heartbeat
from bench.journal.record import CHECKPOINT, RECORD, Record, Started, read_records, write_started
from bench.progress import Progress
from bench.running.begun import as_begun
from bench.running.ledger import Ledger
from bench.study.definition import load_preset, load_study
from bench.study.plan import cell_id, plan, resolve

DATA = "f" * 64


def cell_of(**overrides):
    return plan(load_study("table2"), load_preset("tiny"), {"threads": "auto", **overrides}, ["ViT"])[0]


def here(cell, cpus: int):
    return resolve(cell.config, "cpu", threads_at_hand=cpus)


@pytest.fixture
def begin(tmp_path):
    """Leave the folder of a run of a cell, with or without a record; returns the configuration and the folder."""

    def make(cell, config, data: str = DATA, status: str | None = None):
        folder = tmp_path / "runs" / cell_id(config, cell.numerics, data)
        folder.mkdir(parents=True)
        write_started(folder, Started(label=cell.label, config=config, numerics=cell.numerics))
        if status is not None:
            tests = made_up_runs.both((0.3, 0.2), (0.7, 0.4)) if status == "done" else []
            made = made_up_runs.run(tmp_path, cell, tests, folder.name, config=config, status=status, fingerprint=data)
            assert isinstance(made, Record)
        else:
            (folder / CHECKPOINT).touch()
        return folder

    return make


def taken_up(cell, cpus: int, tmp_path, data: str = DATA):
    return as_begun([cell], [here(cell, cpus)], {"msmt": data}, tmp_path, Progress())[0]


def test_what_is_not_there_is_begun_with_the_cpus_at_hand(tmp_path, capsys):
    assert taken_up(cell_of(), 7, tmp_path).threads == 7
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("status", ["done", "failed", None])
def test_what_was_begun_goes_on_with_its_threads_and_one_line_says_so(status, begin, tmp_path, capsys):
    cell = cell_of()
    begin(cell, here(cell, 4), status=status)
    assert taken_up(cell, 2, tmp_path) == here(cell, 4)
    told = capsys.readouterr().err
    assert told == "1 run stays as it was begun, with 4 CPU threads; --set threads=2 would begin anew\n"
    assert taken_up(cell, 4, tmp_path) == here(cell, 4) and capsys.readouterr().err == ""


def test_runs_of_one_difference_share_a_line(begin, tmp_path, capsys):
    cells = plan(load_study("table2"), load_preset("tiny"), {"threads": "auto"}, ["ViT", "cosine"], seeds=[0, 1])
    for cell in cells:
        begin(cell, here(cell, 1))
    as_begun(cells, [here(cell, 2) for cell in cells], {"msmt": DATA}, tmp_path, Progress())
    assert capsys.readouterr().err.startswith("4 runs stay as they were begun, with 1 CPU thread; ")


def test_threads_that_are_asked_for_are_another_run(begin, tmp_path, capsys):
    begin(cell_of(), here(cell_of(), 4), status="done")
    assert taken_up(cell_of(threads=2), 2, tmp_path).threads == 2
    assert capsys.readouterr().err == ""


def test_a_finished_run_counts_before_one_that_this_machine_began(begin, tmp_path):
    cell = cell_of()
    begin(cell, here(cell, 2))
    assert taken_up(cell, 2, tmp_path).threads == 2
    begin(cell, here(cell, 4))
    assert taken_up(cell, 2, tmp_path).threads == 2
    begin(cell, here(cell, 8), status="done")
    assert taken_up(cell, 2, tmp_path).threads == 8


def test_other_data_are_another_cell(begin, tmp_path):
    cell = cell_of()
    begin(cell, here(cell, 4), data="e" * 64, status="done")
    assert taken_up(cell, 2, tmp_path).threads == 2


def test_a_precision_that_auto_meant_elsewhere_is_kept(begin, tmp_path, capsys):
    cell = cell_of()
    on_a_gpu = resolve(cell.config, "cuda", "bf16")
    begin(cell, on_a_gpu, status="done")
    assert taken_up(cell, 2, tmp_path) == on_a_gpu
    assert "begun, in bf16 and on a GPU; --set training.precision=fp32 would begin anew" in capsys.readouterr().err
    assert taken_up(cell_of(training={"precision": "fp32"}), 2, tmp_path).training.precision == "fp32"


def test_status_and_run_answer_alike(begin, tmp_path):
    """The ledger tells of a cell as done exactly where its run would be skipped."""
    for asked, made in ((cell_of(), here(cell_of(), 4)), (cell_of(threads=3), here(cell_of(threads=3), 9))):
        folder = begin(asked, made, status="done")
        write_heartbeat(folder, Heartbeat(state="done", updated=0.0, host="h", pid=1))
        book = Ledger(tmp_path, lambda: None)
        for cell in (cell_of(), cell_of(threads=3), cell_of(threads=4), cell_of(threads=5)):
            done = book.state_of(cell).kind == "done"
            config = as_begun([cell], [here(cell, 2)], {"msmt": DATA}, tmp_path, Progress(silent=True))[0]
            record = tmp_path / "runs" / cell_id(config, cell.numerics, DATA) / RECORD
            assert done == record.exists()


def test_on_a_gpu_threads_are_not_in_the_id():
    ids = {
        cell_id(resolve(cell_of(threads=threads).config, "cuda", "bf16", cpus), {}, DATA)
        for threads, cpus in (("auto", 2), ("auto", 64), (3, 64))
    }
    assert len(ids) == 1
    assert len({cell_id(here(cell_of(), cpus), {}, DATA) for cpus in (2, 64)}) == 2


@pytest.mark.slow
def test_bench_run_skips_what_another_number_of_cpus_finished(bench, tiny_data, tmp_path, monkeypatch):
    command = (
        "run", "--variants", "cosine", "--train", "msmt", "--preset", "tiny", "--set", "threads=auto",
        "--test", "market", "--data-dir", tiny_data, "--results", tmp_path,
    )  # fmt: skip
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert bench(*command).code == 0
    [before] = read_records(tmp_path)
    assert before.config.threads == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    again = bench(*command)
    assert again.code == 0 and "0 done, 1 skipped, 0 failed" in again.out
    assert "1 run stays as it was begun, with 3 CPU threads; --set threads=1 would begin anew" in again.err
