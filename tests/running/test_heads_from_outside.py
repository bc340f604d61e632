"""Heads from outside in `bench run`: tried in a process of their own before anything is lost, and failed records."""

from __future__ import annotations

import dataclasses
import sys

import pytest

from bench.journal.record import read_record
from bench.running import apart, trial
from bench.running.cell import FAILED, run_cell
from bench.running.preflight import RunOptions, predicted_steps, preflight
from bench.running.targets import local_target
from bench.study.definition import load_preset, load_study
from bench.study.plan import plan

HEAD = '''
import os, sys, time
{first}
import torch
from variants import vit
class Mine(vit.ViT):
    """ViT, in two minds."""
    def __init__(self, feature_shape, *, layers: int = 1, feedforward: int = 16):
        super().__init__(feature_shape, layers=layers, feedforward=feedforward)
        {built}
    def match(self, query, gallery):
        scores = super().match(query, gallery)
        {match}
        return scores
    def pair_bytes(self, training=False):
        return {pair_bytes}
'''
SOUND = {"first": "", "built": "pass", "match": "pass", "pair_bytes": "8"}


@pytest.fixture
def write(tmp_path):
    """Write a head of these parts."""

    def put(**parts: str):
        path = tmp_path / "mine.py"
        path.write_text(HEAD.format(**SOUND | parts))
        return path

    return put


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"first": "sys.exit(0)"}, "SystemExit: 0"),
        ({"first": "os._exit(0)"}, "it ended its process with 0"),
        ({"first": "os.abort()"}, "it ended its process by SIGABRT"),
        ({"first": "time.sleep(10**6)"}, "it did not come to an end within 1 s"),
        ({"built": "raise KeyError('lost')"}, "KeyError: 'lost'"),
        ({"match": "while True: pass"}, "it did not come to an end within 1 s"),
        ({"match": "sys.exit(3)"}, "SystemExit: 3"),
        ({"match": "scores = scores * 1j"}, "scores must be real numbers"),
        ({"match": "scores = scores + torch.rand(1)"}, "score differently each time"),
        ({"match": "scores = scores.T"}, "match gave (3, 2) for 2 queries and 3 gallery images"),
        ({"match": "scores = scores / 0"}, "some scores are not finite"),
        *(({"pair_bytes": value}, "pair_bytes must give") for value in ("0", "-1", "8.0", "2**70")),
    ],
)
def test_one_that_cannot_be_used_is_refused_before_the_first_run(
    write, bench, tiny_data, tmp_path, monkeypatch, parts, reason
):
    if "within 1 s" in reason:
        monkeypatch.setattr(apart, "TRIAL_SECONDS", 1)
    path = write(**parts)
    places = ("--results", tmp_path / "results", "--data-dir", tiny_data)
    found = bench("run", "--variants", path, "--train", "msmt", "--preset", "tiny", *places)
    assert found.code == 2 and reason in found.err and f"try `bench check-head {path}`" in found.err
    assert f"trying {path}" in found.err and "Traceback" not in found.err
    assert not list((tmp_path / "results").glob("runs/*/*"))


def cells_of(head):
    return plan(load_study("table2"), load_preset("tiny"), {}, [str(head)])


def test_no_code_of_it_runs_in_the_process_of_the_command(write):
    path = write(first="sys.modules['the_head_was_here'] = sys")
    assert predicted_steps(cells_of(path), "cpu") == []
    assert "the_head_was_here" not in sys.modules


def test_it_is_tried_once_for_all_its_seeds_and_training_sets(write, capfd):
    cells = plan(load_study("table2"), load_preset("tiny"), {}, [str(write())], ["msmt", "market"], [0, 1])
    predicted_steps(cells, "cpu")
    assert capfd.readouterr().err.count("trying ") == 1


def test_its_footprint_is_that_of_the_same_head_in_the_suite(write):
    """Heads of the suite are measured without data, those from outside with some."""
    [own], [outside] = cells_of("vit"), cells_of(write())
    [inside, beside] = [trial.footprint_of(cell.config, cell.head_path, "cpu") for cell in (own, outside)]
    assert inside == beside and inside.bytes_per_image("bfloat16") == 4 * inside.numbers_per_image


@pytest.fixture
def task(write, tiny_data, tmp_path):
    """The task of a run that is planned and tried."""
    options = RunOptions(tmp_path / "results", tiny_data / "standin-tiny", lambda _: local_target("cpu"))

    def plan_one(**parts: str):
        [planned] = preflight(cells_of(write(**parts)), options)
        return dataclasses.replace(planned, tests=("market",))

    return plan_one


@pytest.mark.parametrize("end", ["sys.exit(0)", "raise KeyboardInterrupt", "raise BaseException('odd')"])
def test_one_that_ends_python_in_training_is_a_failed_record(task, end):
    planned = task(match=f"if self.training: {end}")
    assert run_cell(planned) == FAILED
    record = read_record(planned.folder)
    assert record.status == "failed" and record.failure.phase == "training"
    assert record.failure.reason.partition(":")[0] in ("SystemExit", "KeyboardInterrupt", "BaseException")


def test_one_that_was_edited_since_its_run_was_planned_does_not_run_under_the_old_id(task, write):
    planned = task()
    write(match="scores = scores * 2")
    assert run_cell(planned) == FAILED
    assert "mine.py has changed since the run was planned" in read_record(planned.folder).failure.reason
