"""Figures 2 and D from records: points, defaults, published values, files, and the word on stand-in data."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from made_up_runs import STANDIN, board_of, both, cells, measured, run

from bench.report import figures
from bench.report.curve_pictures import draw_curves
from bench.report.curves import curve_points, panels
from bench.report.pictures import headline
from bench.report.write import write_report
from bench.study.definition import load_preset, load_study
from bench.study.plan import plan

pytestmark = pytest.mark.slow


def texts(figure) -> str:
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    labels = [label for axes in figure.axes for label in (axes.get_xlabel(), axes.get_ylabel())]
    return " | ".join([figure.get_suptitle(), *legends, *labels])


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of every row of Figure 2."""
    folder = tmp_path_factory.mktemp("figure2")
    planned = plan(load_study("figure2"), load_preset(None), {}, seeds=[0, 1])
    places = {row.label: place for place, row in enumerate(load_study("figure2").whole_rows)}
    for cell in planned:
        accuracy = 0.2 + places[cell.label] / 100 + cell.config.seed / 50
        run(folder, cell, both((accuracy, accuracy), (accuracy, accuracy)))
    return folder


def test_figure2_has_four_panels_around_one_default(swept: Path) -> None:
    found = panels(board_of(swept, "figure2"))
    assert [panel.symbol for panel in found] == ["d", "D", "N", "H"]
    assert [panel.values for panel in found] == [
        [64, 128, 256, 512, 1024],
        [256, 512, 1024, 2048, 4096],
        [1, 2, 3, 4, 5, 6],
        [1, 2, 4, 8],
    ]
    assert [panel.curves[0].default for panel in found] == [512, 2048, 3, 1]


def test_points_carry_means_spreads_times_and_what_the_paper_printed(swept: Path) -> None:
    points = {(point.key, point.value): point for point in curve_points(board_of(swept, "figure2"))}
    assert len(points) == 20
    default, single = points["layers", 3], points["layers", 1]
    assert default.default and not single.default
    assert (default.mAcc_published, default.training_seconds_published) == (44.29, pytest.approx(1.44 * 3600))
    assert (single.mAcc_published, single.training_seconds_published) == (38.76, None)
    assert default.mAcc == pytest.approx(21.0) and default.mAcc_spread == pytest.approx(2 / 2**0.5)
    assert default.training_seconds == 3600 and default.seeds == 2
    assert points["width", 512].mAcc == points["heads", 1].mAcc == default.mAcc


def test_figure2_is_drawn_with_two_axes_a_panel(swept: Path) -> None:
    board = board_of(swept, "figure2")
    figure = draw_curves(board, headline(board))
    assert len(figure.axes) == 8 and "STAND-IN" not in texts(figure)
    said = texts(figure)
    for word in ("mAcc (%)", "training time (h)", "default", "paper, mAcc", "paper, Time (V100)"):
        assert word in said
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert ticks == ["64", "128", "256", "512", "1024"]


def test_nothing_drawn_leaves_its_axes(swept: Path) -> None:
    board = board_of(swept, "figure2")
    figure = draw_curves(board, headline(board))
    for axes in figure.axes:
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        for line in axes.get_lines():
            assert all(left < x < right for x in line.get_xdata()) and all(low < y < high for y in line.get_ydata())


def test_figure_d_has_both_ways_and_their_times(tmp_path: Path) -> None:
    for cell in plan(load_study("figured"), load_preset(None), {}, seeds=[0]):
        run(tmp_path, cell, both((0.3, 0.2), (0.7, 0.4)))
    board = board_of(tmp_path, "figured")
    (panel,) = panels(board)
    assert [curve.name for curve in panel.curves] == ["N-1 encoders", "N encoders"]
    assert all([value for value, _ in curve.points] == [1, 2, 3, 4, 5, 6] for curve in panel.curves)
    said = texts(draw_curves(board, headline(board)))
    for word in ("mAcc (N-1 encoders)", "mAcc' (N encoders)", "Time (N-1 encoders)", "Time' (N encoders)"):
        assert word in said


def test_stand_in_data_say_so_and_a_far_published_time_is_told(tmp_path: Path) -> None:
    for label in ("TransMatcher", "TransMatcher layers=2"):
        seconds = {"sampling": 1.0, "training": 1.0}
        run(tmp_path, cells(label, "figure2")[0], both((0.3, 0.2), (0.7, 0.4)), standin=STANDIN, seconds=seconds)
    board = board_of(tmp_path, "figure2")
    said = texts(draw_curves(board, headline(board)))
    assert "STAND-IN DATA" in said and "1.44 h (V100), beyond the axis" in said


def test_a_report_holds_the_picture_and_the_points(tmp_path: Path) -> None:
    for label in ("TransMatcher", "TransMatcher layers=2"):
        run(tmp_path, cells(label, "figure2")[0], both((0.3, 0.2), (0.7, 0.4)))
    report = write_report(tmp_path, tmp_path / "report", ["figure2"], ["csv", "figures", "markdown"])
    assert report.undrawn == ()
    names = {path.name for path in report.files}
    assert {f"figure2-paper-curves{suffix}" for suffix in (".png", ".pdf", ".csv")} <= names
    assert "figure2-paper-curves.png" in (tmp_path / "report" / "report.md").read_text()
    with (tmp_path / "report" / "figure2-paper-curves.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {(line["symbol"], line["value"]) for line in lines if line["mAcc"]} >= {("N", "2.0"), ("N", "3.0")}


def test_names_of_many_rows_get_panels_for_each_training_set(tmp_path: Path) -> None:
    single = load_study("single_source")
    for cell in plan(single, load_preset(None), {}, ["ViT", "Transformer", "QAConv-GS", "cosine"], seeds=[0]):
        run(tmp_path, cell, [measured(test, 0.3, 0.2) for test in cell.tests])
    few = figures.draw(board_of(tmp_path, "single_source"))
    for cell in plan(single, load_preset(None), {}, ["Transformer-Cat"], seeds=[0]):
        run(tmp_path, cell, [measured(test, 0.3, 0.2) for test in cell.tests])
    many = figures.draw(board_of(tmp_path, "single_source"))
    assert few.keys() == many.keys()
    assert height(few["single_source-paper-tradeoff.png"]) < 1000 < height(many["single_source-paper-tradeoff.png"])


def height(png: bytes) -> int:
    """Of a picture, in pixels."""
    return int.from_bytes(png[20:24])
