"""`bench shortlist`: curves from stored checkpoints, and what the report makes of them."""

from __future__ import annotations

import csv
import json
import shutil

import pytest

from bench.journal.record import read_record, write_record
from bench.journal.shortlists import read_shortlists, write_shortlist

pytestmark = pytest.mark.slow

RUN = "qaconv-msmt-s0"


@pytest.fixture(scope="module")
def results(finished, tmp_path_factory):
    """A copy of the finished runs, to which shortlists are added."""
    place = tmp_path_factory.mktemp("shortlists") / "results"
    shutil.copytree(finished, place)
    return place


@pytest.fixture
def shortlist(bench, results, tiny_data, monkeypatch):
    monkeypatch.setattr("bench.running.shortlist.TIMED_QUERIES", 2)
    return lambda *words: bench("shortlist", *words, "--results", results, "--data-dir", tiny_data)


@pytest.fixture
def ranked(monkeypatch):
    """The ranks that the command found, by run as they were made."""
    from bench.running import shortlist

    found = []
    rank = shortlist.rank_shortlists
    monkeypatch.setattr(shortlist, "rank_shortlists", lambda *words: found.append(rank(*words)) or found[-1])
    return found


def record_of(results, start):
    return read_record(next((results / "runs").glob(f"{start}*")))


def curves(results):
    unreadable = []
    found = list(read_shortlists(results, unreadable))
    assert not unreadable
    return {record.run: record for record in found}


def test_the_whole_gallery_equals_the_test_bit_for_bit_and_none_of_it_the_vectors_test(shortlist, results, ranked):
    done = shortlist("--test", "market")
    assert done.code == 0, done.err
    by = record_of(results, "cosine-msmt-s0")
    found = curves(results)
    assert len(found) == len(ranked) == 8 and by.cell not in found
    for ranks, (run, curve) in zip(ranked, found.items(), strict=True):
        assert curve.by == by.cell
        for of, (rank, point) in {run: (ranks[-1], curve.points[-1]), by.cell: (ranks[0], curve.alone)}.items():
            stored = record_of(results, of).result("market")
            assert rank.first_rank.tolist() == stored.first_rank
            assert rank.average_precision.tolist() == stored.average_precision
            assert (point.rank1, point.mAP) == (stored.rank1, stored.mAP)


def test_a_curve_tells_costs(shortlist, results):
    assert shortlist("--run", RUN, "--test", "market").code == 0
    curve, by = curves(results)[record_of(results, RUN).cell], record_of(results, "cosine-msmt-s0")
    own = record_of(results, RUN).bytes_per_image
    assert curve.gallery_images == record_of(results, RUN).result("market").gallery_images
    lengths = [point.length for point in curve.points]
    assert lengths[:2] == [0, 10] and lengths[-1] == curve.gallery_images
    sizes = [point.bytes_per_image for point in curve.points]
    assert sizes == [by.bytes_per_image, *[by.bytes_per_image + own] * (len(sizes) - 2), own]
    assert all(0 < point.queries_per_second < 1e6 and 1 <= len(point.seconds) <= 2 for point in curve.points)


def test_representations_that_memory_does_not_hold_give_the_same_curve(shortlist, results, monkeypatch):
    assert shortlist("--run", RUN, "--test", "market").code == 0
    run = record_of(results, RUN).cell
    before = curves(results)[run]
    monkeypatch.setattr("bench.testing.scoring.plan_scoring", _on_disk)
    assert shortlist("--run", RUN, "--test", "market").code == 0
    after = curves(results)[run]
    assert [(point.rank1, point.mAP) for point in before.points] == [(point.rank1, point.mAP) for point in after.points]
    assert {path.suffix for path in (results / "shortlists").iterdir()} == {".json"}


def _on_disk(work, budget, room, batch, gpu):
    from bench.testing.memory_budget import ScoringPlan

    few = 4 * 7 * work.bytes_per_image  # of which a quarter holds seven images
    return ScoringPlan(work, few, 3, "disk", batch, budget // 4)


def test_the_report_draws_the_curves_and_writes_their_numbers(shortlist, bench, results, tmp_path):
    assert shortlist("--run", RUN, "vit-msmt-s0", "--test", "market").code == 0
    words = ("report", "--results", results, "--study", "shortlist", "--out", tmp_path)
    done = bench(*words, "--format", "text", "markdown", "csv", "figures", "html")
    assert done.code == 0, done.err
    assert "cosine alone" in done.out and "QAConv-GS" in done.out and "STAND-IN DATA" in done.out
    (table,) = tmp_path.glob("shortlist-*.csv")
    lines = list(csv.DictReader(table.open()))
    curve = curves(results)[record_of(results, RUN).cell]
    ours = [line for line in lines if line["run"] == curve.run]
    assert [(int(line["length"]), float(line["mAP"])) for line in ours] == [
        (point.length, point.mAP) for point in curve.curve
    ]
    assert table.with_suffix(".png").stat().st_size and table.with_suffix(".pdf").stat().st_size
    assert table.with_suffix(".png").name in (tmp_path / "report.md").read_text()
    assert "data:image/webp" in (tmp_path / "report.html").read_text()
    assert "bench report --study shortlist" in bench("report", "--results", results, "--format", "text").out


def test_nothing_is_lost_from_the_first_length_that_no_longer_one_falls_below(shortlist, results):
    assert shortlist("--run", RUN, "--test", "market").code == 0
    curve = curves(results)[record_of(results, RUN).cell]

    def with_mAP(*values):
        points = [
            curve.alone.model_copy(update={"length": length, "mAP": value})
            for length, value in zip((0, 10, 20, 50, 100), values, strict=True)
        ]
        return curve.model_copy(update={"points": points}).lossless.length

    assert with_mAP(0.9, 0.2, 0.3, 0.3996, 0.4) == 50
    assert with_mAP(0.9, 0.5, 0.3, 0.3994, 0.4) == 100
    assert with_mAP(0.1, 0.4, 0.5, 0.45, 0.4) == 10


def test_a_damaged_record_costs_itself_alone(shortlist, bench, results, tmp_path):
    assert shortlist("--run", RUN, "--test", "market").code == 0
    place = tmp_path / "results"
    good = curves(results)[record_of(results, RUN).cell]
    write_shortlist(place, good)
    (place / "shortlists" / "bad.json").write_text("{")
    done = bench("report", "--results", place, "--study", "shortlist", "--format", "text")
    assert done.code == 1 and "QAConv-GS" in done.out and "bad.json" in done.out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--by", RUN), "keeps more than one vector"),
        (("--by", "nobody"), "no run 'nobody'"),
        (("--run", "nobody"), "no run 'nobody'"),
        (("--test", "viper"), "splits"),
        (("--test", "randperson"), "randperson"),
        (("--test", "nowhere"), "nowhere"),
    ],
)
def test_wrong_use_is_one_sentence(shortlist, words, reason):
    done = shortlist(*words)
    assert done.code == 2 and reason in done.err and done.err.count("\n") == 1, done.err


@pytest.fixture
def few(bench, results, tiny_data, tmp_path):
    """Calls the command with copies of some runs' records alone, each changed as told."""

    def call(changes, *words):
        for start, change in changes.items():
            record = record_of(results, start)
            folder = tmp_path / "runs" / record.cell
            shutil.copytree(results / "runs" / record.cell, folder)
            changed = json.loads(record.model_dump_json())
            changed["fingerprint"] = change.get("fingerprint", record.fingerprint)
            changed["config"] |= change.get("config", {})
            write_record(folder, type(record).model_validate(changed))
        return bench("shortlist", *words, "--results", tmp_path, "--data-dir", tiny_data)

    return call


def test_runs_of_other_training_images_or_seeds_do_not_go_together(few):
    done = few({"cosine": {}, RUN: {"fingerprint": "others"}}, "--by", "cosine", "--run", RUN)
    assert done.code == 2 and "not trained on the same images" in done.err


def test_several_trainings_ask_for_one(few):
    done = few({"cosine": {}, RUN: {"config": {"seed": 3}}})
    assert done.code == 2 and "--by CELL" in done.err


def test_without_a_run_of_one_vector_there_is_no_shortlist(few):
    done = few({RUN: {}, "transformer_cross-msmt": {}})
    assert done.code == 2 and "keeps one vector" in done.err


def test_one_run_alone_has_nothing_to_compare(few):
    done = few({"cosine": {}})
    assert done.code == 2 and "no other finished run" in done.err


def test_a_network_that_is_gone_costs_its_own_curve_alone(bench, results, tiny_data, tmp_path):
    cells = [record_of(results, start).cell for start in ("cosine", "vit", RUN)]
    for cell in cells:
        shutil.copytree(results / "runs" / cell, tmp_path / "runs" / cell)
    places = ("--test", "market", "--results", tmp_path, "--data-dir", tiny_data)
    (tmp_path / "runs" / cells[1] / "checkpoint.pt").unlink()
    done = bench("shortlist", *places)
    assert done.code == 1 and "left out" in done.err and "QAConv-GS" in done.out
    done = bench("shortlist", "--run", "vit", *places)
    assert done.code == 2 and "is gone" in done.err
    (tmp_path / "runs" / cells[0] / "checkpoint.pt").unlink()
    done = bench("shortlist", *places)
    assert done.code == 2 and "is gone" in done.err and "keeps one vector" in done.err


def test_a_report_on_shortlists_without_any_says_what_makes_them(bench, finished):
    done = bench("report", "--results", finished, "--study", "shortlist", "--format", "text")
    assert done.code == 0 and "`bench shortlist`" in done.out


def test_help_shows_an_example(bench):
    done = bench("shortlist", "--help")
    assert done.code == 0 and "bench shortlist --test market" in done.out
