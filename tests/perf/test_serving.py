"""`bench perf --only serving`: what a row costs behind a standing gallery, and what is projected is told as that."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from places import ROOT

from bench.journal.provenance import now, provenance
from bench.perf import serving
from bench.perf.records import PerfRecord, PerfSizes, QueryTimes, Serving, read_perf
from bench.perf.serving import ServingCase, measure_serving, query_times
from bench.report.serving import PROJECTED, percentile_95
from bench.report.speed import speed_tables
from bench.study.definition import load_preset, load_study
from bench.study.plan import plan

ALL = QueryTimes(batch=1, pictures=100, encode=[0.01], match=[0.02])
SOME = QueryTimes(batch=64, pictures=25, encode=[0.1, 0.1], match=[0.5, 0.7])
FOUND = Serving(
    study="table2", row="a row", dtype="float32", gallery=100, bytes_per_image=2**20, growth_bytes=2**27,
    latency=ALL, throughput=SOME,
)  # fmt: skip


@pytest.fixture
def case() -> ServingCase:
    """A row of Table 2 with one vector an image, at the smallest sizes."""
    [cell] = plan(load_study("table2"), load_preset("tiny"), {}, ["cosine"], ["msmt"], [0])
    return ServingCase("table2", "tiny", cell.label, cell.head_path, cell.config, 70)


@pytest.fixture
def record() -> PerfRecord:
    sizes = PerfSizes(batch=1, tokens=1, width=1, feedforward=1, layers=1)
    origin = provenance(torch.device("cpu"), now(), jobs=1)
    return PerfRecord(sizes=sizes, threads=1, repeats=1, provenance=origin, comparisons=[], serving=[FOUND])


def clocked(seconds_a_picture: float) -> tuple[list[int], object]:
    """Sizes that were called for, and a call that takes no time but says it took some for each picture."""
    asked: list[int] = []

    def serve(pictures: int) -> tuple[float, float]:
        asked.append(pictures)
        return 0.001, seconds_a_picture * pictures

    return asked, serve


def test_a_fast_row_goes_through_the_whole_gallery():
    asked, serve = clocked(1e-9)
    found = query_times(serve, 1, 1000, most=30, least=20)
    assert (found.batch, found.pictures, len(found.match)) == (1, 1000, 30) and asked[-30:] == [1000] * 30


def test_a_slow_row_goes_through_what_patience_allows():
    _, serve = clocked(serving.PATIENCE / 20 / 100)  # twenty calls through a hundred pictures take all of it
    found = query_times(serve, 1, 10**6, most=20, least=20)
    assert found.pictures == 64


def test_even_the_slowest_row_is_measured_on_the_first_pictures():
    asked, serve = clocked(serving.PATIENCE)
    found = query_times(serve, 64, 10**6, most=5, least=3)
    assert found.pictures == serving.FIRST_PICTURES == max(asked)


def test_calls_end_with_patience_but_not_before_the_fewest_are_made(monkeypatch):
    monkeypatch.setattr(serving, "PATIENCE", 0.0)
    assert len(query_times(lambda pictures: (1e-3, 1e-3), 1, 5, most=100, least=20).match) == 20
    assert len(query_times(lambda pictures: (1e-3, 1e-3), 1, 5, most=2, least=20).match) == 2


def test_encoding_is_not_multiplied_by_the_pictures_that_were_left_out():
    assert FOUND.seconds(SOME) == pytest.approx([0.1 + 4 * 0.5, 0.1 + 4 * 0.7]) and FOUND.is_projected(SOME)
    assert FOUND.seconds(ALL) == pytest.approx([0.03]) and not FOUND.is_projected(ALL)


def test_the_percentile_leaves_a_twentieth_above():
    assert percentile_95([float(value) for value in range(101)]) == pytest.approx(95.0)
    assert percentile_95([3.0]) == 3.0


def test_a_table_tells_what_is_projected_and_from_how_many_pictures(record):
    [table] = speed_tables([record])
    entries = dict(zip((column.full for column in table.columns), table.rows[0], strict=True))
    assert entries["one query (ms) median"].body == "30" and not entries["one query (ms) median"].marks
    assert entries["64 queries queries/s"].body == f"~{64 / 2.5:.3g}" and entries["64 queries queries/s"].marks == (
        "1",
    )
    assert table.footnotes == ("projected from 25 pictures of the gallery",) and PROJECTED in table.notes
    assert (entries["gallery all (MiB)"].body, entries["memory added (MiB)"].body) == ("100", "128")
    values = {value.quantity: value for value in table.values}
    assert values["throughput"].mean == pytest.approx(25.6) and values["throughput"].state.endswith("from 25")
    assert values["latency"].mean == pytest.approx(0.03) and "projected" not in values["latency"].state


def test_a_row_that_failed_says_why(record):
    failed = Serving(study="table2", row="a row", dtype="float32", gallery=100, note="does not fit in memory")
    [table] = speed_tables([record.model_copy(update={"serving": [failed]})])
    assert table.footnotes == ("does not fit in memory",) and {text.body for text in table.rows[0][2:]} == {"·"}
    assert PROJECTED not in table.notes


def test_records_without_galleries_keep_their_names(record):
    others = [
        record.model_copy(update={"serving": kept}).slug for kept in ([], [FOUND.model_copy(update={"row": "b"})])
    ]
    assert len({record.slug, *others}) == 3
    kept = {path.stem for path in (ROOT / "results" / "perf").glob("*.json")}
    assert {older.slug for older in read_perf(ROOT / "results")} == kept


@pytest.mark.slow
def test_a_row_is_measured_with_its_own_network_and_gallery(case):
    found = measure_serving(case, repeats=1, threads=1, device="cpu")
    assert found.note == "" and (found.row, found.preset, found.gallery) == ("cosine", "tiny", 70)
    assert (found.latency.batch, len(found.latency.match)) == (1, serving.CALLS_A_REPEAT)
    assert (found.throughput.batch, found.throughput.pictures, len(found.throughput.match)) == (64, 70, 1)
    assert found.bytes_per_image == 4 * case.config.width and found.growth_bytes > 70 * found.bytes_per_image


@pytest.mark.slow
def test_a_row_that_cannot_be_built_leaves_its_reason(case):
    found = measure_serving(dataclasses.replace(case, head="no such head"), repeats=1, threads=1, device="cpu")
    assert "no such head" in found.note and found.latency is None


def test_the_command_measures_rows_of_the_study_and_keeps_what_it_prints(bench, tmp_path, monkeypatch):
    asked = []

    def measure(case, repeats, threads, device):
        asked.append((case.study, case.preset, case.row, case.config.evaluation.scoring, case.gallery, device))
        return FOUND.model_copy(update={"row": case.row, "gallery": case.gallery})

    monkeypatch.setattr("bench.perf.run.measure_serving", measure)
    arguments = ("--only", "serving", "--gallery", 100, "--preset", "tiny", "--device", "cpu", "--dtype", "float32")
    found = bench("perf", *arguments, "--variants", "cosine,TransMatcher small", "--results", tmp_path)
    assert found.code == 0
    names = [("table2", "tiny", row, "float32", 100, "cpu") for row in ("cosine", "TransMatcher small")]
    assert asked == names
    assert "Serving a gallery of 100" in found.out and "TransMatcher small" in found.out
    [kept] = read_perf(tmp_path)
    assert [item.row for item in kept.serving] == ["cosine", "TransMatcher small"]
    report = bench("report", "--study", "speed", "--results", tmp_path, "--format", "text")
    assert report.code == 0 and "Serving a gallery of 100" in report.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--gallery", "0"], "at least 1"),
        (["--gallery", "1000000000000"], "at most"),
        (["--gallery", "100000000", "--variants", "TransMatcher"], "GiB are free"),
        (["--variants", "cosin"], "cosine"),
        (["--variants", "operator"], "no row"),
        (["--dtype", "float16"], "bfloat16"),
        (["--preset", "dem"], "demo"),
        (["--study", "table22"], "table2"),
        (["--only", "matching", "--gallery", "10"], "--only test or serving"),
    ],
)
def test_wrong_use_is_one_sentence_and_measures_nothing(bench, tmp_path, monkeypatch, arguments, said):
    monkeypatch.setattr("bench.perf.run.measure_serving", lambda *_: pytest.fail("measured"))
    found = bench(
        "perf", "--only", "serving", "--device", "cpu", "--dtype", "float32", *arguments, "--results", tmp_path
    )
    assert found.code == 2 and said in found.err and not (tmp_path / "perf").exists()


def test_what_is_needed_is_the_gallery_a_block_and_what_is_sorted(case):
    small, large = (dataclasses.replace(case, gallery=pictures).bytes_needed(512) for pictures in (1, 10**7))
    assert large - small > 10**7 * 512 and small > case.config.evaluation.memory_gib * 2**28


def test_a_sweep_over_more_rows_than_anybody_measures_is_refused(bench, tmp_path):
    study = tmp_path / "wide.yaml"
    study.write_text(
        "title: wide\ntrain: [msmt]\nseeds: 1\nrows:\n  - {label: one, head: cosine, width: 8}\n"
        f"sweep:\n  width: {list(range(1, 1200))}\n"
    )
    found = bench("perf", "--only", "serving", "--device", "cpu", "--study", study, "--results", tmp_path)
    assert found.code == 2 and "1,200 rows" in found.err and "--yes" not in found.err
