"""Learning curves in reports: their file, their picture, and that runs without looks have neither."""

from __future__ import annotations

import csv

import pytest
from made_up_runs import board_of, measured, run

from bench.config import HELD_OUT
from bench.journal.measures import CLIP_GROUPS, Level, Look
from bench.journal.record import read_records
from bench.report.learning import learning, learning_points
from bench.report.learning_pictures import draw_learning
from bench.report.write import write_report
from bench.study.definition import load_preset, load_study
from bench.study.plan import plan

HOLDS_OUT = {"training": {"held_out_persons": 100, "held_out_every": 10}}


def look(step: int, accuracy: float) -> Look:
    return Look(
        step=step,
        loss=9.0 - step / 10 if step else None,
        hit=accuracy / 2 if step else None,
        learning_rates=[0.0005, 0.005],
        gradient_norms=dict(zip(CLIP_GROUPS, (8.0, 2.0), strict=True)) if step else {},
        clipped=dict(zip(CLIP_GROUPS, (1.0, 0.25), strict=True)) if step else {},
        held_out=Level(rank1=accuracy + 0.1, mAP=accuracy),
    )


@pytest.fixture
def looked_at(tmp_path):
    """Two seeds of ViT and one of cosine; the second seed of ViT was stopped before the last look."""
    planned = plan(load_study("table2"), load_preset(None), HOLDS_OUT, ["ViT", "cosine"], seeds=[0, 1])
    kept = [cell for cell in planned if (cell.label, cell.config.seed) != ("cosine", 1)]
    for number, cell in enumerate(kept):
        steps = (0, 10, 20) if number != 1 else (0, 10)
        looks = [look(step, 0.1 * number + step / 100) for step in steps]
        run(tmp_path, cell, [measured(HELD_OUT, 0.4, 0.3)], looks=looks, overrides=HOLDS_OUT)
    return tmp_path


def test_a_row_is_followed_as_far_as_all_its_seeds_go(looked_at):
    vit, cosine = learning(board_of(looked_at))
    assert (vit.row.label, vit.steps) == ("ViT", [0, 10])
    assert [round(found.held_out.mAP, 3) for found in vit.at(10)] == [0.1, 0.2]
    assert (cosine.row.label, cosine.steps) == ("cosine", [0, 10, 20])


def test_the_file_holds_every_look_in_percent(looked_at):
    points = learning_points(board_of(looked_at))
    assert [(point.method, point.seed, point.step) for point in points] == [
        ("ViT", 0, 0),
        ("ViT", 0, 10),
        ("ViT", 0, 20),
        ("ViT", 1, 0),
        ("ViT", 1, 10),
        ("cosine", 0, 0),
        ("cosine", 0, 10),
        ("cosine", 0, 20),
    ]
    first, second = points[0], points[1]
    assert (first.loss, first.hit, first.gradient_norm_pairs, first.clipped_images) == (None, None, None, None)
    assert second.held_out_mAP == pytest.approx(10) and second.hit == pytest.approx(5)
    assert (second.gradient_norm_images, second.gradient_norm_pairs, second.clipped_pairs) == (8.0, 2.0, 25.0)
    assert second.learning_rate == 0.005


def test_the_picture_has_a_line_for_each_row_chance_and_where_gradients_are_clipped(looked_at):
    figure = draw_learning(board_of(looked_at))
    accuracy, hits, norms = figure.axes
    assert [len(axes.lines) for axes in (accuracy, hits, norms)] == [3, 2, 5]
    assert [*accuracy.lines[0].get_ydata()] == pytest.approx([5, 15])
    assert [*accuracy.lines[2].get_ydata()] == pytest.approx([2, 2])
    assert [*norms.lines[-1].get_ydata()] == [4, 4]
    labels = [label.get_text() for label in norms.get_yticklabels(which="both")]
    assert {"2", "5"} <= {*labels} and not any("$" in label for label in labels)
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()][:2] == ["ViT", "cosine"]


@pytest.mark.slow
def test_a_report_writes_both_and_neither_where_nobody_looked(looked_at, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    write_report(looked_at, out, ["table2"])
    [lines] = out.glob("*-learning.csv")
    assert len(list(csv.DictReader(lines.open()))) == 8
    assert lines.with_suffix(".png").is_file() and lines.with_suffix(".pdf").is_file()
    assert lines.with_suffix(".png").name in (out / "report.md").read_text()
    [cell] = plan(load_study("table2"), load_preset(None), {}, ["ViT"], seeds=[0])
    plain = tmp_path_factory.mktemp("plain")
    run(plain, cell, [measured("market", 0.4, 0.3)])
    assert all(record.looks == [] for record in read_records(plain))
    write_report(plain, plain / "report", ["table2"])
    assert not list((plain / "report").glob("*learning*"))
