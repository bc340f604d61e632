"""Small test sets from the command line: run on their splits, or on one's own, recorded, reported, refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_sets as tiny

from bench.config import SMALL_TEST_SETS
from bench.data.readers.viper import PERSONS
from bench.data.standin.small_layouts import VIPER_PERSONS
from bench.journal.record import Record, read_records

MINE = [{"train": [], "test": list(PERSONS[:3])}]


@pytest.fixture
def run(bench, tiny_data, tmp_path):
    """`bench run` of the cosine row on tiny data, trained on Market-1501 and tested on small sets."""

    def call(*arguments, tests="viper,grid", results=tmp_path / "results"):
        return bench(
            "run", "--variants", "cosine", "--train", "market", "--test", tests, "--preset", "tiny", "--device", "cpu",
            "--data-dir", tiny_data, "--results", results, *arguments,
        )  # fmt: skip

    return call


def record_in(results: Path) -> Record:
    [record] = read_records(results)
    return record


@pytest.mark.slow
def test_a_small_set_is_one_test_set_with_its_splits_in_record_and_report(run, bench, tmp_path):
    done = run()
    assert done.code == 0, done.out + done.err
    assert "viper Rank-1 " in done.out and "grid Rank-1 " in done.out
    record = record_in(tmp_path / "results")
    viper, grid = record.result("viper"), record.result("grid")
    assert [(one.split, one.swapped) for one in viper.splits] == [
        (number, swapped) for number in range(10) for swapped in (False, True)
    ]
    assert {one.queries for one in viper.splits} == {VIPER_PERSONS["tiny"] // 2} and len(grid.splits) == 10
    assert grid.split_source.startswith("the set's own partitions, features_and_partitions.mat (")
    shown = bench("report", "--results", tmp_path / "results")
    assert shown.code == 0, shown.err
    assert "VIPeR: mean over 10 splits, each both ways: the set's own splits, pairbench_splits.json (" in shown.out
    assert "GRID: mean over 10 splits: the set's own partitions, features_and_partitions.mat (" in shown.out
    assert f"{100 * viper.rank1:.1f}" in shown.out and f"{100 * grid.mAP:.1f}" in shown.out


@pytest.mark.slow
def test_splits_of_ones_own_are_tested_on_and_never_mixed_with_others(run, tmp_path):
    mine = tiny.write_splits(tmp_path / "mine.json", "viper", MINE)
    done = run("--splits", mine, tests="viper")
    assert done.code == 0, done.out + done.err
    result = record_in(tmp_path / "results").result("viper")
    assert len(result.splits) == 2 and len(result.first_rank) == 6
    assert result.split_source.startswith("own splits, mine.json (")
    again = run(tests="viper")
    assert again.code == 2
    assert "the splits of viper have changed from own splits, mine.json (" in again.err
    assert len(record_in(tmp_path / "results").tests) == 2  # trained and untrained: nothing was lost or added


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ([{"test": [9999]}], "split 0: person 9999 cannot be tested, as VIPeR in "),
        ([{"train": [0], "test": [0]}], "split 0: person 0 on both sides, in training and in test"),
    ],
)
def test_splits_that_do_not_fit_end_before_anything_runs(run, tmp_path, splits, message):
    mine = tiny.write_splits(tmp_path / "mine.json", "viper", splits)
    done = run("--splits", mine)
    assert done.code == 2 and message in done.err and done.err.count("\n") == 1
    assert not list((tmp_path / "results" / "runs").glob("*/record.json"))


def test_splits_of_a_set_that_is_not_tested_on_are_refused(run, tmp_path):
    mine = tiny.write_splits(tmp_path / "mine.json", "prid")
    done = run("--splits", mine)
    assert done.code == 2 and "mine.json holds splits of prid, and no run is tested on that" in done.err


def test_an_absent_set_is_named_with_where_it_was_looked_for(bench, tiny_data, tmp_path):
    for folder in (tiny_data / "standin-tiny").iterdir():
        if folder.name != "VIPeR":
            (tmp_path / folder.name).symlink_to(folder)
    done = bench(
        "run", "--variants", "cosine", "--train", "market", "--test", "viper", "--preset", "tiny",
        "--data-dir", tmp_path, "--results", tmp_path / "results",
    )  # fmt: skip
    assert done.code == 2
    assert "VIPeR is absent: none of the folders VIPeR, viper/VIPeR" in done.err and str(tmp_path) in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--train", "viper"), "viper is for testing only"),
        (("--train", "market", "--test", "cuhk02"), "cuhk02 has no query and gallery: it is for training only"),
        (("--train", "market_all", "--test", "market"), "market_all trains on the test persons of market"),
        (("--train", "cuhk03_all", "--test", "cuhk03_labeled"), "cuhk03_all trains on the test persons of"),
    ],
)
def test_what_a_set_is_not_for_is_told(bench, tiny_data, tmp_path, arguments, message):
    done = bench("run", "--preset", "tiny", "--data-dir", tiny_data, "--results", tmp_path, "--dry-run", *arguments)
    assert done.code == 2 and message in done.err


def test_the_small_sets_and_their_training_sets_are_listed(bench):
    listed = bench("list", "data").out
    assert "(testing only)" in listed and "trained on, it is tested on viper, prid, grid, ilids" in listed
    assert all(f"  {name} " in listed for name in (*SMALL_TEST_SETS, "cuhk02", "cuhksysu", "market_all"))


@pytest.mark.slow
def test_a_result_without_splits_is_read_as_before(run, tmp_path):
    assert run(tests="cuhk03").code == 0
    [path] = (tmp_path / "results" / "runs").glob("*/record.json")
    content = json.loads(path.read_text())
    for result in content["tests"]:
        assert (result.pop("splits"), result.pop("split_source")) == ([], "")
    path.write_text(json.dumps(content))
    result = record_in(tmp_path / "results").result("cuhk03")
    assert result.splits == [] and result.split_source == "" and result.spread_over_splits is None
    assert "1 skipped" in run(tests="cuhk03").out
