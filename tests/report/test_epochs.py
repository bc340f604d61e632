"""How rows learned is drawn and written from the logs of their runs, and costs no report that lacks them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from made_up_runs import STANDIN, board_of, both, cells, measured, run

from bench.journal.epochs import read_epochs
from bench.journal.reading import Unreadable
from bench.report.epoch_pictures import draw_epochs
from bench.report.epochs import epoch_points, moments
from bench.report.layout import accuracy_table
from bench.report.notes import notes
from bench.report.pictures import title
from bench.report.sources import read_sources


def learned(results: Path, label: str, seed: int, hits: list[float], train: str = "msmt") -> Path:
    """A run that took 30 steps, with a log of so many epochs."""
    cell = cells(label, study="single_source", train=train)[seed]
    record = run(results, cell, both((0.5, 0.4), (0.5, 0.4)), steps=30)
    log = results / "runs" / record.cell / "log.jsonl"
    lines = [{"epoch": at, "loss": 10.0 - at, "hit": hit, "skipped": 0} for at, hit in enumerate(hits, start=1)]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return log


@pytest.fixture
def two_learned(tmp_path):
    learned(tmp_path, "ViT", 0, [0.1, 0.2, 0.4])
    learned(tmp_path, "ViT", 1, [0.3, 0.4])
    learned(tmp_path, "TransMatcher", 0, [0.5, 0.6, 0.7])
    return tmp_path


def test_a_rows_curve_is_the_mean_of_its_seeds_as_far_as_all_went(two_learned):
    board, epochs = board_of(two_learned), read_sources(two_learned, speed=False, shortlists=False).epochs
    points = epoch_points(board, epochs)
    assert len(points) == 8 and {(point.method, point.seed) for point in points if point.hit > 45} == {
        ("TransMatcher", 0)
    }
    [vit] = [row for row in board.rows if row.label == "ViT"]
    found = moments(vit, points)
    assert [moment.hit for moment in found] == [pytest.approx((20, 10, 30)), pytest.approx((30, 20, 40))]
    assert [moment.steps for moment in found] == [2, 4]  # 30 steps in the 15 epochs of the paper's recipe


def test_a_picture_has_a_line_for_each_row_that_learned(two_learned):
    board, epochs = board_of(two_learned), read_sources(two_learned, speed=False, shortlists=False).epochs
    hits, losses = draw_epochs(board, epochs).axes
    assert [line.get_label() for line in hits.lines] == ["ViT", "TransMatcher"] and len(losses.lines) == 2
    assert draw_epochs(board, {}) is None


def test_each_training_set_has_panels_of_its_own_in_which_a_row_keeps_its_colour(tmp_path):
    for train in ("msmt", "market"):
        for label, hits in (("ViT", [0.1, 0.2]), ("TransMatcher", [0.3, 0.4])):
            learned(tmp_path, label, 0, hits, train)
    board = board_of(tmp_path, study="single_source")
    figure = draw_epochs(board, read_sources(tmp_path, speed=False, shortlists=False).epochs)
    assert len(figure.axes) == 4
    colours = [{line.get_label(): line.get_color() for line in axes.lines} for axes in figure.axes]
    assert len(set(colours[0].values())) == 2 and colours == [colours[0]] * 4
    titles = [axes.get_title() for axes in figure.axes]
    assert sorted(set(titles)) == ["trained on MSMT17", "trained on Market-1501"]


def test_a_report_holds_picture_and_points(two_learned, bench):
    out = two_learned / "report"
    assert bench("report", "--results", two_learned, "--out", out, "--format", "csv", "figures").code == 0
    assert (out / "table2-paper-epochs.png").exists()
    lines = list(csv.DictReader((out / "table2-paper-epochs.csv").read_text().splitlines()))
    assert [float(line["hit"]) for line in lines if line["method"] == "TransMatcher"] == pytest.approx([50, 60, 70])


def test_a_damaged_log_is_passed_over_with_its_name(two_learned, bench):
    log = learned(two_learned, "QAConv-GS", 0, [0.2])
    log.write_text('{"epoch": "none"}\n')
    with pytest.raises(Unreadable, match="is not the log of a training"):
        read_epochs(log.parent)
    found = bench("report", "--results", two_learned, "--out", two_learned / "report", "--format", "csv")
    assert found.code == 1 and str(log) in found.out and "QAConv-GS" in found.out


def test_accuracies_tell_how_far_above_chance_they_are(two_learned, bench):
    out = two_learned / "report"
    assert bench("report", "--results", two_learned, "--out", out, "--format", "csv").code == 0
    lines = csv.DictReader((out / "table2-paper-accuracy.csv").read_text().splitlines())
    [line] = [line for line in lines if (line["method"], line["quantity"], line["test"]) == ("ViT", "mAP", "cuhk03")]
    # 100 queries of standard deviation 0.5025: (0.4 - 0.02) / 0.05025
    assert float(line["errors_above_chance"]) == pytest.approx(7.562, abs=1e-3) and line["at_chance"] == "False"


def test_on_stand_in_data_a_note_names_the_row_nearest_to_chance(tmp_path):
    for label, mAP in (("ViT", 0.4), ("QAConv-GS", 0.2)):
        tests = [measured(test, 0.5, mAP, standin=STANDIN) for test in ("cuhk03", "market")]
        run(tmp_path, cells(label)[0], tests, standin=STANDIN)
    assert "Nearest to chance: QAConv-GS on CUHK03-NP, whose mAP is 3.6 standard errors above it." in notes(
        board_of(tmp_path)
    )


def test_tables_and_pictures_name_what_the_backbone_began_from(tmp_path):
    for label in ("ViT", "QAConv-GS"):
        planned = cells(label, preset="demo")[0]
        weights = planned.config.backbone.weights
        assert weights.startswith("standin:")
        run(tmp_path, planned, both((0.5, 0.4), (0.5, 0.4)), preset="demo", standin=STANDIN)
    board = board_of(tmp_path)
    assert "backbone: stand-in pretraining" in accuracy_table(board).title
    assert "backbone: stand-in pretraining" in title(board, "accuracy", speeds=False)[0]
