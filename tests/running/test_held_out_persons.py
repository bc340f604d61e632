"""Choosing options on training persons held out, from the command line."""

from __future__ import annotations

import pytest

from bench.config import HELD_OUT
from bench.journal.record import read_records


@pytest.fixture
def run(bench, tiny_data, tmp_path):
    def call(*arguments):
        return bench(
            "run", "--variants", "cosine", "--train", "msmt", "--preset", "tiny", "--device", "cpu", "--data-dir",
            tiny_data, "--results", tmp_path / "results", *arguments,
        )  # fmt: skip

    return call


@pytest.mark.slow
def test_a_run_is_tested_on_the_persons_that_it_held_out_and_on_other_sets_where_they_are_asked_for(
    run, bench, tmp_path
):
    options = ("--set", "training.held_out_persons=2", "--set", "training.sampled_persons=3")
    done = run(*options)
    assert done.code == 0, done.out + done.err
    [record] = read_records(tmp_path / "results")
    assert [result.test for result in record.tests if result.state == "trained"] == [HELD_OUT]
    assert record.steps == 3
    shown = bench("report", "--results", tmp_path / "results")
    assert "held-out persons" in shown.out and "Market-1501  " not in shown.out
    again = run(*options, "--test", "held_out,market")
    assert again.code == 0, again.err
    [record] = read_records(tmp_path / "results")
    assert [result.test for result in record.tests if result.state == "trained"] == [HELD_OUT, "market"]
    shown = bench("report", "--results", tmp_path / "results")
    assert "held-out persons" in shown.out and "Market-1501" in shown.out


def test_persons_that_cannot_be_held_out_are_refused_before_anything_runs(run, tmp_path):
    done = run("--set", "training.held_out_persons=1000")
    assert done.code == 2 and "msmt has " in done.err and "must be left to train on" in done.err
    assert not list((tmp_path / "results").glob("runs/*"))
    done = run("--test", "held_out")
    assert done.code == 2 and "--set training.held_out_persons=" in done.err
