"""`bench run --lists`: what was tested before ranked lists were stored is tested again, and nothing is trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bench.journal.lists import lists_of, lists_path
from bench.journal.record import CHECKPOINT, RECORD, Record, read_record
from bench.report.collect import collect

pytestmark = pytest.mark.slow


@pytest.fixture
def bench_run(bench, finished, tiny_data, tmp_path):
    """`bench run` of the cosine row, in a copy of its finished run unless another folder is named."""
    [source] = (finished / "runs").glob("cosine-msmt-*")
    shutil.copytree(source, tmp_path / "results" / "runs" / source.name)

    def call(*arguments, results=tmp_path / "results"):
        return bench(
            "run", "--variants", "cosine", "--train", "msmt", "--preset", "tiny", "--data-dir", tiny_data,
            "--results", results, *arguments,
        )  # fmt: skip

    return call


@pytest.fixture
def folder(bench_run, tmp_path) -> Path:
    return next((tmp_path / "results" / "runs").iterdir())


def but_usage(record: Record) -> Record:
    """Its numbers: another start takes its own time and memory."""
    return record.model_copy(update={"usage": None})


def made_before(folder: Path, **changes) -> Record:
    """Make a run's record and folder what a version without lists left."""
    content = json.loads((folder / RECORD).read_text())
    for result in content["tests"]:
        del result["lists"], result["lists_refused"]
        result |= changes
    (folder / RECORD).write_text(json.dumps(content))
    for path in folder.glob("lists-*"):
        path.unlink()
    return read_record(folder)


def test_a_run_stores_the_lists_of_each_test_of_its_trained_network(folder):
    record = read_record(folder)
    for test in ("cuhk03", "market"):
        result = record.result(test)
        lists = lists_of(folder, result)
        assert lists.queries.tolist() == result.query_index and lists.test == test
        assert record.result(test, "untrained").lists == ""


def test_image_paths_lie_below_the_data_directory(folder, tiny_data):
    lists = lists_of(folder, read_record(folder).result("market"))
    for name in (lists.query_path[0], lists.gallery_path[-1]):
        assert (tiny_data / "standin-tiny" / name).is_file() and not Path(name).is_absolute()


def test_a_run_made_before_gets_its_lists_and_keeps_its_numbers(bench_run, folder):
    new, contents = read_record(folder), {path.name: path.read_bytes() for path in folder.glob("lists-*")}
    checkpoint = (folder / CHECKPOINT).read_bytes()
    made_before(folder)
    assert "1 skipped" in bench_run().out, "it is finished as long as nobody asks for lists"
    shown = bench_run("--lists", "--dry-run")
    assert "done but for the lists of cuhk03, the lists of market" in shown.out
    done = bench_run("--lists")
    assert (done.code, done.err) == (0, "") and "1 done, 0 skipped, 0 failed" in done.out
    assert but_usage(read_record(folder)) == but_usage(new) and (folder / CHECKPOINT).read_bytes() == checkpoint
    assert {path.name: path.read_bytes() for path in folder.glob("lists-*")} == contents
    assert "0 done, 1 skipped" in bench_run("--lists").out


def test_a_lost_or_damaged_file_is_made_again(bench_run, folder):
    record = read_record(folder)
    content = lists_path(folder, "cuhk03").read_bytes()
    lists_path(folder, "market").unlink()
    lists_path(folder, "cuhk03").write_bytes(content[:-9])
    assert bench_run("--lists").code == 0
    assert but_usage(read_record(folder)) == but_usage(record)
    assert lists_path(folder, "cuhk03").read_bytes() == content


def test_other_numbers_are_told_and_the_record_keeps_its_own(bench_run, folder):
    old = made_before(folder, mAP=0.123)
    done = bench_run("--lists")
    assert done.code == 1 and "0 done, 0 skipped, 1 failed" in done.out
    assert "cuhk03: tested again, the network gives other numbers than the record has (mAP)" in done.out
    record = read_record(folder)
    assert record.is_done() and not list(folder.glob("lists-*"))
    for result, before in zip(record.tests, old.tests, strict=True):
        assert result.model_copy(update={"lists_refused": ""}) == before
        assert (result.lists_refused != "") == (result.state == "trained")
    assert any(board.runs for board in collect([record])), "the report shows it as before"


def test_a_network_that_is_gone_costs_no_result(bench_run, folder):
    old = made_before(folder)
    for path in folder.glob("checkpoint*"):
        path.unlink()
    done = bench_run("--lists")
    assert done.code == 1 and "checkpoint.pt is gone" in done.out
    record = read_record(folder)
    assert record.is_done() and record.failure is None
    assert [result.mAP for result in record.tests] == [result.mAP for result in old.tests]
    assert "1 skipped" in bench_run().out


def test_what_was_not_trained_is_passed_over(bench_run, tmp_path):
    done = bench_run("--lists", results=tmp_path / "other")
    assert done.code == 0 and "0 done, 1 skipped, 0 failed" in done.out
    assert "not trained, so there is nothing to test again; `bench run` without --lists trains it" in done.out
    assert not list((tmp_path / "other").glob("runs/*/*"))


def test_help_shows_it(bench):
    shown = bench("run", "--help").out
    assert "--lists" in shown and "test again, without training" in " ".join(shown.split())
