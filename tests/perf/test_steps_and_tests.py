"""Whole steps and tests are measured as runs make them, part by part; two records can be laid side by side."""

from __future__ import annotations

import pytest
import torch
from places import ROOT

from bench.computing import compute_as_runs_do
from bench.perf import measure, peak
from bench.perf.records import Breakdown, Part, PerfRecord, PerfSizes, read_perf
from bench.perf.rows import StudyRow
from bench.perf.step import PARTS, Steps, measure_step
from bench.perf.whole_test import measure_test
from bench.perf.works import OPERATOR, Work
from bench.report.speed import compared_speed, speed_tables

CPU = torch.device("cpu")


@pytest.fixture
def row(tiny_config):
    """A row of table 2, at tiny sizes."""
    return StudyRow("table2", "tiny", "TransMatcher", "transmatcher", tiny_config(), threads=1)


@pytest.fixture
def as_before():
    """Whether algorithms have to be deterministic is put back to what it was."""
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)


def broken_down(seconds: float, **changes) -> Breakdown:
    values = {
        "task": "step", "study": "table2", "row": "cosine", "precision": "fp32", "scoring": "float32", "size": "8",
        "seconds": [seconds], "parts": [Part(name="match", seconds=[seconds / 4], units=8, unit="image")],
    }  # fmt: skip
    return Breakdown(**{**values, **changes})


@pytest.fixture
def record():
    """Makes records of one breakdown."""
    [some, *_] = read_perf(ROOT / "results")

    def make(seconds: float, label: str, finished: str, **changes) -> PerfRecord:
        return PerfRecord(
            sizes=PerfSizes(batch=1, tokens=1, width=1, feedforward=1, layers=1),
            threads=1,
            repeats=1,
            provenance=some.provenance.model_copy(update={"finished": finished}),
            comparisons=[],
            breakdowns=[broken_down(seconds, **changes)],
            label=label,
        )

    return make


def test_the_parts_of_a_step_are_the_trainers_step_to_the_last_bit(row, tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    whole, parts = (Steps(row, CPU, tmp_path / name) for name in "ab")
    laps = [parts.by_parts() for _ in range(3)]
    assert [whole.whole() for _ in range(3)] == [lap.loss for lap in laps]
    assert all(tuple(lap.seconds) == PARTS and min(lap.seconds.values()) > 0 for lap in laps)
    assert whole.model.weights_hash() == parts.model.weights_hash()


@pytest.mark.slow
def test_steps_and_tests_are_measured_in_processes_of_their_own(row):
    step, test = measure_step(row, 2, "cpu"), measure_test(row, 6, 20, 2, "cpu")
    assert step.note == test.note == "" and len(step.seconds) == len(test.seconds) == 2
    assert [part.name for part in step.parts] == [*PARTS] and all(len(part.seconds) == 2 for part in step.parts)
    assert {part.name: (part.units, part.unit) for part in test.parts} == {
        "encode": (26, "image"), "match": (120, "pair"), "rank": (6, "query"),
    }  # fmt: skip
    assert sum(part.median for part in test.parts) < 1.5 * test.median
    assert min(step.peak_bytes, test.peak_bytes) > 2**26


def test_what_fails_is_said_in_its_place(row, monkeypatch):
    def fail(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("bench.perf.step.in_fresh_process", fail)
    monkeypatch.setattr("bench.perf.whole_test.in_fresh_process", fail)
    for found in (measure_step(row, 1, "cpu"), measure_test(row, 2, 3, 1, "cpu")):
        assert found.note == "does not fit in memory" and found.median is None


def test_a_process_apart_finds_the_memory_of_a_gpu_that_nobody_uses(monkeypatch):
    done = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append("given back"))
    monkeypatch.setattr(measure, "call_apart", lambda context, function, *arguments: done.append(arguments))
    measure.in_fresh_process(torch.device("cuda"), compute_as_runs_do, 1)
    measure.in_fresh_process(CPU, compute_as_runs_do, 2)
    assert done == ["given back", (1,), (2,)]


def test_what_is_measured_computes_as_a_run_does(as_before, monkeypatch):
    torch.use_deterministic_algorithms(False)
    monkeypatch.setattr(peak, "_measure", lambda work, memory: torch.are_deterministic_algorithms_enabled())
    work = Work(OPERATOR, "forward", "float32", 2, 4, 8, 8, 1, "cpu")
    assert peak._attempt(work, 2**30, torch.get_num_threads()) is True


def test_labels_keep_records_apart_and_the_report_lays_them_side_by_side(record):
    before, after = record(4.0, "before", "2026-01-01"), record(2.0, "after", "2026-01-02")
    assert before.slug != after.slug
    *alone, table = speed_tables([after, before])
    assert [item.title.split(";")[1] for item in alone] == [" a training step and its parts"] * 2
    rows = [[text.body for text in row] for row in table.rows]
    assert [row[2] for row in rows] == ["whole", "match"]
    assert rows[0][5:] == ["4 s", "2 s", "2.00"] and rows[1][5:] == ["1 s", "500 ms", "2.00"]


def test_records_of_different_sizes_have_nothing_to_compare(record):
    assert not compared_speed(record(1.0, "", "1"), record(1.0, "", "2", size="16")).rows


def test_two_records_are_compared_without_measuring(record, bench, tmp_path):
    paths = [tmp_path / "before.json", tmp_path / "after.json"]
    for path, seconds in zip(paths, (3.0, 1.5), strict=True):
        path.write_text(record(seconds, path.stem, "2026-01-01").model_dump_json())
    found = bench("perf", "--against", paths[0], "--measured", paths[1])
    assert found.code == 0 and "2.00" in found.out and "before and after" in found.out
    assert bench("perf", "--measured", paths[1]).code == 2
    assert "no record" in bench("perf", "--against", tmp_path / "none.json").err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--queries", "3"], "--only test"),
        (["--preset", "tiny"], "--only step or test or serving"),
        (["--only", "step", "--gallery", "3"], "--only test or serving"),
        (["--only", "step", "--preset", "tiny", "--variants", "nobody"], "nobody"),
        (["--label", "a b"], "letters, digits"),
    ],
)
def test_options_that_measure_nothing_are_refused(bench, tmp_path, words, told):
    found = bench("perf", "--device", "cpu", "--results", tmp_path, *words)
    assert found.code == 2 and told in found.err and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_command_measures_rows_of_a_study(bench, tmp_path):
    words = "--only step,test --variants cosine --preset tiny --queries 3 --gallery 9 --repeats 1 --device cpu"
    found = bench("perf", *words.split(), "--set", "training.persons=2", "--label", "now", "--results", tmp_path)
    assert found.code == 0, found.err
    [kept] = read_perf(tmp_path)
    assert [item.task for item in kept.breakdowns] == ["step", "test"] and kept.slug.endswith("-now")
    assert kept.breakdowns[0].size == "4 images of 32 x 16" and kept.breakdowns[0].overrides == "training.persons=2"
    assert "images/s" in found.out and "pairs/s" in found.out
