"""Reports: exact numbers by hand, what must be said below and above tables, and the paper's numbers as printed."""

from __future__ import annotations

import argparse
import dataclasses
import io
import math
import statistics
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from bench.commands import report as command
from bench.errors import UserError
from bench.journal.record import Failure, Level, Provenance, Record, read_records, write_record
from bench.journal.record import TestResult as Result
from bench.report.board import Board
from bench.report.collect import collect
from bench.report.figures import draw
from bench.report.layout import accuracy_table, cost_table, tables
from bench.report.model import CHANCE, MISSING, OUTSIDE, Table
from bench.report.published import load_published
from bench.report.render import escape_latex, to_csv, to_latex, to_markdown, to_text
from bench.report.write import write_report
from bench.study.plan import Cell, load_preset, load_study, plan, resolve

STANDIN = "stand-in data (demo, seed 0)"
SPREAD_AP = [0.0, 1.0] * 50
"""Average precisions with mean 0.5, sample standard deviation 0.5025 and so a standard error of 0.05025."""


def cells(label: str, study: str = "table2", preset: str | None = None, train: str = "msmt") -> list[Cell]:
    """The cells of one row of a study, by seed."""
    planned = plan(load_study(study), load_preset(preset), {}, train=[train])
    return [cell for cell in planned if cell.label == label]


def measured(test: str, rank1: float, mAP: float, **changes: Any) -> Result:
    """A result whose matching ran at 1000 pairs in 2 seconds, far above chance unless changed."""
    values: dict[str, Any] = {
        "test": test,
        "state": "trained",
        "rank1": rank1,
        "mAP": mAP,
        "mAP_trapezoid": mAP,
        "cmc": [rank1] * 20,
        "query_index": list(range(100)),
        "first_rank": [1] * 100,
        "average_precision": SPREAD_AP,
        "gallery_images": 10,
        "chance": Level(rank1=0.01, mAP=0.02),
        "fingerprint": f"{test}-pictures",
        "seconds": {"encoding": 1.0, "matching": 2.0, "ranking": 0.5},
        "pairs": 1000,
        "peak_bytes": 2**28,
    }
    return Result(**(values | changes))


def run(results: Path, cell: Cell, tests: list[Result], name: str = "", **changes: Any) -> Record:
    """Write a finished run of a cell, with `changes` to the record's fields, into `results`."""
    provenance = {
        "commit": "1111111111",
        "dirty": False,
        "versions": {"torch": "2.6.0"},
        "device": "NVIDIA H200",
        "cpu": "a CPU",
        "host": "h",
        "started": "2025-01-01T00:00:00",
        "finished": "2025-01-01T01:00:00",
    } | changes.pop("provenance", {})
    values: dict[str, Any] = {
        "cell": name or f"{cell.label.replace(' ', '')}-{cell.config.train}-{cell.config.seed}",
        "status": "done",
        "label": cell.label,
        "config": resolve(cell.config, "cuda", True),
        "numerics": cell.numerics,
        "weights_hash": None if changes.get("status") == "failed" else "0" * 64,
        "fingerprint": "training-pictures",
        "standin": None,
        "preset": None,
        "overrides": {},
        "provenance": Provenance(**provenance),
        "tests": tests,
        "seconds": {"sampling": 600.0, "training": 3000.0},
        "peak_bytes": 3 * 2**30,
        "bytes_per_image": 2048,
        "parameters": {"backbone": 9_000_000, "head": 1_000_000},
    }
    record = Record(**(values | changes))
    write_record(results / "runs" / record.cell, record)
    return record


def both(cuhk03: tuple[float, float], market: tuple[float, float], **changes: Any) -> list[Result]:
    """Results on both test sets of MSMT17-trained rows."""
    return [measured("cuhk03", *cuhk03, **changes), measured("market", *market, **changes)]


def board_of(results: Path, study: str = "table2") -> Board:
    """The first board of a study from the records below `results`."""
    return collect(read_records(results), [study])[0]


def values_of(table: Table, method: str, quantity: str, test: str = "") -> pd.Series:
    """The one line of a table's CSV file for a quantity of a method."""
    frame = pd.read_csv(io.StringIO(to_csv(table)), keep_default_na=True)
    chosen = frame[(frame.method == method) & (frame.quantity == quantity)]
    chosen = chosen[chosen.test == test] if test else chosen[chosen.test.isna()]
    assert len(chosen) == 1
    return chosen.iloc[0]


def entry(table: Table, method: str, column: str, group: str = "") -> str:
    """An entry as the terminal shows it."""
    position = next(at for at, item in enumerate(table.columns) if (item.heading, item.group) == (column, group))
    row = next(row for row in table.rows if row[0].body == method)
    marks = "".join(f"[{mark}]" if mark.isdigit() else mark for mark in row[position].marks)
    return f"{row[position].body} {marks}".strip()


@pytest.fixture
def two_seeds(tmp_path: Path) -> Path:
    """TransMatcher with two of four seeds: mAcc 40 and 46, CUHK03-NP mAP 20 and 26."""
    first, second, *_ = cells("TransMatcher")
    run(tmp_path, first, both((0.30, 0.20), (0.70, 0.40)))
    run(tmp_path, second, both((0.34, 0.26), (0.78, 0.46)), seconds={"sampling": 600.0, "training": 6600.0})
    return tmp_path


def test_means_spreads_best_and_seeds_by_hand(two_seeds: Path) -> None:
    table = accuracy_table(board_of(two_seeds))
    mAP = values_of(table, "TransMatcher", "mAP", "cuhk03")
    assert mAP["mean"] == pytest.approx(23.0, abs=1e-12)
    assert mAP["spread"] == pytest.approx(math.sqrt(18.0), abs=1e-12)
    assert (mAP["best"], mAP["seeds"], mAP["seeds_planned"]) == (26.0, 2, 4)
    mAcc = values_of(table, "TransMatcher", "mAcc")
    assert mAcc["mean"] == pytest.approx((40 + 46) / 2, abs=1e-12)
    assert mAcc["spread"] == pytest.approx(statistics.stdev([40, 46]), abs=1e-12)
    assert mAcc["best"] == pytest.approx(46.0, abs=1e-12)
    assert entry(table, "TransMatcher", "mAcc", "all test sets") == "43.00 ±4.24"
    assert entry(table, "TransMatcher", "best", "all test sets") == "46.00"
    assert entry(table, "TransMatcher", "seeds") == "2/4"
    assert entry(table, "TransMatcher", "mAP", "CUHK03-NP") == "23.0 ±4.2"


def test_published_stands_beside_measured(two_seeds: Path) -> None:
    table = accuracy_table(board_of(two_seeds))
    assert entry(table, "TransMatcher", "paper", "all test sets") == "44.29"
    assert values_of(table, "TransMatcher", "mAcc")["published"] == 44.29
    assert values_of(table, "ViT", "rank1", "market")["published"] == 57.7
    assert math.isnan(values_of(table, "QAConv-GS", "mAcc")["published"])
    assert math.isnan(values_of(table, "cosine", "mAP", "cuhk03")["published"])


def test_costs_by_hand(two_seeds: Path) -> None:
    table = cost_table(board_of(two_seeds))
    time = values_of(table, "TransMatcher", "training_seconds")
    assert (time["mean"], time["best"], time["published"]) == (5400.0, 3600.0, pytest.approx(1.44 * 3600))
    assert entry(table, "TransMatcher", "measured (h)", "training time") == "1.50 ±0.71"
    assert entry(table, "TransMatcher", "paper (h, V100)", "training time") == "1.44"
    assert values_of(table, "TransMatcher", "pairs_per_second")["mean"] == 500.0
    assert entry(table, "TransMatcher", "training, peak (GiB)", "memory") == "3.00"
    assert entry(table, "TransMatcher", "gallery image (KiB)", "memory") == "2.00"
    assert values_of(table, "TransMatcher", "parameters")["mean"] == 10_000_000


@pytest.mark.parametrize(("seconds", "column", "shown"), [(20, "s", "20.0"), (600, "min", "10.0"), (1800, "h", "0.50")])
def test_unit_of_time_follows_the_fastest_row(tmp_path: Path, seconds: float, column: str, shown: str) -> None:
    run(tmp_path, cells("ViT")[0], both((0.3, 0.2), (0.7, 0.4)), seconds={"sampling": 5.0, "training": seconds - 5})
    run(tmp_path, cells("cosine")[0], both((0.3, 0.2), (0.7, 0.4)), seconds={"training": 36000.0})
    assert entry(cost_table(board_of(tmp_path)), "ViT", f"measured ({column})", "training time") == shown


def test_missing_cells_are_visible(two_seeds: Path) -> None:
    table = accuracy_table(board_of(two_seeds))
    assert entry(table, "Transformer-Cat", "mAP", "CUHK03-NP") == MISSING
    assert entry(table, "Transformer-Cat", "seeds") == "0/4"
    assert values_of(table, "Transformer-Cat", "mAcc")["status"] == "missing"
    assert any(line.startswith(MISSING) for line in table.legend)


def test_one_test_set_shows_but_makes_no_mean(tmp_path: Path) -> None:
    first, second, *_ = cells("ViT")
    run(tmp_path, first, [measured("market", 0.5, 0.25)])
    table = accuracy_table(board_of(tmp_path))
    assert entry(table, "ViT", "mAP", "Market-1501") == "25.0"
    assert entry(table, "ViT", "mAP", "CUHK03-NP") == MISSING
    assert entry(table, "ViT", "mAcc", "all test sets") == MISSING
    run(tmp_path, second, both((0.2, 0.1), (0.6, 0.3)))
    table = accuracy_table(board_of(tmp_path))
    assert entry(table, "ViT", "mAcc", "all test sets") == "30.00 [1]"
    assert table.footnotes[0] == "mAcc over the 1 of 2 seeds with all test sets."


def test_failed_cells_name_their_reason(tmp_path: Path) -> None:
    first, second, *_ = cells("Transformer-Cat")
    failure = Failure(phase="training", reason="out of memory\n(40 GiB)")
    run(tmp_path, first, [], status="failed", failure=failure)
    table = accuracy_table(board_of(tmp_path))
    assert entry(table, "Transformer-Cat", "mAP", "CUHK03-NP").startswith("failed [")
    assert "Seed 0 failed in training: out of memory (40 GiB)" in table.footnotes
    assert values_of(table, "Transformer-Cat", "mAP", "market")["status"] == "failed"
    run(tmp_path, second, both((0.2, 0.2), (0.6, 0.3)))
    table = accuracy_table(board_of(tmp_path))
    assert entry(table, "Transformer-Cat", "mAP", "CUHK03-NP") == "20.0"
    assert entry(table, "Transformer-Cat", "seeds").startswith("1/4 [")
    assert "Seed 0 failed in training: out of memory (40 GiB)" in table.footnotes


@pytest.mark.parametrize(("mAP", "marked"), [(0.1200, True), (0.1206, False)])
def test_at_chance_is_two_standard_errors(tmp_path: Path, mAP: float, marked: bool) -> None:
    # Chance 0.02; two standard errors are 2 * 0.5025 / sqrt(100) = 0.1005.
    run(tmp_path, cells("ViT")[0], both((0.5, mAP), (0.5, 0.4)))
    table = accuracy_table(board_of(tmp_path))
    assert (CHANCE in entry(table, "ViT", "mAP", "CUHK03-NP")) is marked
    assert CHANCE not in entry(table, "ViT", "mAP", "Market-1501")
    assert bool(values_of(table, "ViT", "mAP", "cuhk03")["at_chance"]) is marked
    assert any(line.startswith(CHANCE) for line in table.legend) is marked


def test_runs_that_differ_are_named(tmp_path: Path) -> None:
    run(tmp_path, cells("ViT")[0], both((0.3, 0.2), (0.7, 0.4)))
    same = " ".join(cost_table(board_of(tmp_path)).notes)
    assert "device NVIDIA H200" in same and "Rows differ" not in same and "uncommitted" not in same
    other = {"device": "NVIDIA A100", "commit": "2222222222", "dirty": True}
    run(tmp_path, cells("cosine")[0], both((0.3, 0.2), (0.7, 0.4)), provenance=other, fingerprint="other")
    notes = cost_table(board_of(tmp_path)).notes
    assert any("NVIDIA H200 (ViT); NVIDIA A100 (cosine); Time" in note for note in notes)
    assert any("11111111 (ViT); 22222222 with uncommitted changes (cosine)" in note for note in notes)
    assert any(note.startswith("Rows differ in training data (msmt): training (ViT); other (cosine)") for note in notes)
    assert any("cannot be reproduced" in note for note in notes)


def test_differing_test_data_are_named(tmp_path: Path) -> None:
    run(tmp_path, cells("ViT")[0], both((0.3, 0.2), (0.7, 0.4)))
    run(tmp_path, cells("cosine")[0], [measured("market", 0.7, 0.4, fingerprint="other")])
    notes = " ".join(accuracy_table(board_of(tmp_path)).notes)
    assert "Rows differ in test data (market): market-p (ViT); other (cosine)" in notes
    assert "test data (cuhk03)" not in notes


def test_newest_finished_run_counts_and_others_are_told(tmp_path: Path) -> None:
    cell = cells("ViT")[0]
    run(tmp_path, cell, both((0.1, 0.1), (0.1, 0.1)), name="a", fingerprint="older data")
    later = {"finished": "2025-02-01T00:00:00"}
    run(tmp_path, cell, both((0.5, 0.5), (0.5, 0.5)), name="b", provenance=later)
    latest = {"finished": "2025-03-01T00:00:00"}
    failure = Failure(phase="data", reason="disk")
    run(tmp_path, cell, [], name="c", provenance=latest, status="failed", failure=failure)
    outdated = {key: value + 1 for key, value in cell.numerics.items()}
    run(tmp_path, cell, both((0.9, 0.9), (0.9, 0.9)), name="d", provenance=latest, numerics=outdated)
    table = accuracy_table(board_of(tmp_path))
    assert entry(table, "ViT", "mAcc", "all test sets") == "50.00"
    told = next(text for text in table.footnotes if "left out" in text)
    assert told.startswith("3 more runs of the same cells left out:")
    for reason in ("1 on other training data", "1 failed, run again since", "1 by an earlier version of the code"):
        assert reason in told


def test_only_outdated_runs_leave_the_cell_missing(tmp_path: Path) -> None:
    cell = cells("ViT")[0]
    run(tmp_path, cell, both((0.9, 0.9), (0.9, 0.9)), numerics={"head": 99, "trainer": 99})
    table = accuracy_table(board_of(tmp_path))
    assert entry(table, "ViT", "mAcc", "all test sets") == MISSING
    assert entry(table, "ViT", "seeds") == "0/4 [1]"
    assert "1 more run of the same cells left out: 1 by an earlier version of the code." in table.footnotes


def test_heads_from_outside_are_rows_of_table2(tmp_path: Path) -> None:
    model = cells("cosine")[0]
    config = model.config.model_copy(update={"head": "gone", "head_digest": "ab" * 32})
    mine = dataclasses.replace(model, label="gone", config=config)
    run(tmp_path, mine, both((0.3, 0.2), (0.7, 0.4)), numerics={"head": 1, "layers": 1, "trainer": 1})
    earlier = dataclasses.replace(mine, config=config.model_copy(update={"head_digest": "cd" * 32}))
    run(
        tmp_path,
        earlier,
        both((0.9, 0.9), (0.9, 0.9)),
        name="earlier",
        numerics={"head": 1, "layers": 1, "trainer": 1},
        provenance={"finished": "2024-01-01"},
    )
    boards = collect(read_records(tmp_path))
    assert [board.name for board in boards] == ["table2"]
    table = accuracy_table(boards[0])
    assert [row[0].body for row in table.rows].count("gone") == 1
    assert entry(table, "gone", "Method") == f"gone {OUTSIDE}"
    assert entry(table, "gone", "mAcc", "all test sets") == "40.00"
    assert any("1 by an earlier version of the code" in text for text in table.footnotes)
    assert values_of(table, "gone", "mAcc")["kind"] == "outside"


def test_settings_do_not_mix(tmp_path: Path) -> None:
    run(tmp_path, cells("ViT")[0], both((0.5, 0.5), (0.5, 0.5)))
    demo = cells("ViT", preset="demo")[0]
    run(tmp_path, demo, both((0.1, 0.1), (0.1, 0.1)), name="x", preset="demo", standin=STANDIN)
    real, standin = collect(read_records(tmp_path), ["table2"])
    assert values_of(accuracy_table(real), "ViT", "mAcc")["mean"] == pytest.approx(50)
    assert values_of(accuracy_table(standin), "ViT", "mAcc")["mean"] == pytest.approx(10)
    assert accuracy_table(real).banner is None
    assert real.slug != standin.slug


def test_changed_settings_are_told_in_title_and_columns(tmp_path: Path) -> None:
    overrides = {"training": {"epochs": 3}, "width": 64}
    cell = plan(load_study("table2"), load_preset(None), overrides)[0]
    run(tmp_path, cell, both((0.5, 0.5), (0.5, 0.5)), overrides=overrides)
    table = accuracy_table(board_of(tmp_path))
    assert "training.epochs=3, width=64" in table.title
    assert entry(table, cell.label, "seeds") == "1/4"


def test_standin_is_said_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for label in ("ViT", "cosine"):
        cell = cells(label, preset="demo")[0]
        run(tmp_path, cell, both((0.3, 0.2), (0.5, 0.4), standin=STANDIN), preset="demo", standin=STANDIN)
    titles: list[str] = []

    def saved(figure: Figure, path: Path, **_: Any) -> None:
        texts = [figure.get_suptitle(), *(axes.get_title(loc="left") for axes in figure.axes)]
        titles.append(" ".join(texts))
        Path(path).touch()

    monkeypatch.setattr(Figure, "savefig", saved)
    report = write_report(tmp_path, tmp_path / "out", ["table2"])
    warning = "STAND-IN DATA (demo, seed 0): these numbers say nothing about the paper's"
    printed = [part for part in report.text.split("\n\n") if part.startswith("Table 2")]
    assert len(printed) == 2 and all(warning in part for part in printed)
    for path in report.files:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".md":
            assert text.count(f"**{warning}") == text.count("### ") == 2
        elif path.suffix == ".tex":
            assert f"\\textbf{{{warning}" in text
        elif path.suffix == ".csv":
            assert set(pd.read_csv(path).standin) == {STANDIN}
    assert len(titles) == 4 and all("STAND-IN DATA (demo, seed 0)" in title for title in titles)


def test_real_data_carry_no_warning(two_seeds: Path) -> None:
    for table in tables(board_of(two_seeds)):
        for render in (to_text, to_markdown, to_latex):
            assert "stand-in" not in render(table).lower()


def test_levels_before_training(tmp_path: Path) -> None:
    untrained = [measured(test, 0.08, 0.06, state="untrained") for test in ("cuhk03", "market")]
    pixels = {"pixels": Level(rank1=0.10, mAP=0.05)}
    run(tmp_path, cells("ViT")[0], [*both((0.3, 0.2), (0.7, 0.4), **pixels), *untrained])
    table = tables(board_of(tmp_path))[-1]
    assert table.slug.endswith("untrained")
    assert entry(table, "ViT", "mAP", "CUHK03-NP") == "6.0"
    assert entry(table, "chance", "mAcc", "all test sets") == "1.50"
    assert entry(table, "pixels (cosine)", "Rank-1", "Market-1501") == "10.0"
    assert entry(table, "cosine", "mAP", "CUHK03-NP") == MISSING
    trained_only = tmp_path / "other"
    run(trained_only, cells("ViT")[0], both((0.3, 0.2), (0.7, 0.4)))
    assert [made.slug.rsplit("-", 1)[1] for made in tables(board_of(trained_only))] == ["accuracy", "cost"]


def test_table1_lists_literature_and_leaves_training_sets_empty(tmp_path: Path) -> None:
    run(tmp_path, cells("TransMatcher", "table1", train="randperson")[0], [measured("msmt", 0.4, 0.2)])
    table = accuracy_table(board_of(tmp_path, "table1"))
    titles = [row[0].body for row in table.rows]
    assert len(titles) == 20 and titles[0] == "MGN [33, 24]" and titles[-1] == "TransMatcher"
    market_row = table.rows[5]
    msmt_rank1 = next(at for at, item in enumerate(table.columns) if (item.group, item.heading) == ("MSMT17", "Rank-1"))
    market_rank1 = msmt_rank1 - 4
    assert market_row[2].body == "Market-1501"
    assert (market_row[msmt_rank1].body, market_row[market_rank1].body) == (MISSING, "")
    assert market_row[msmt_rank1 + 1].body == "47.3"
    assert table.rows[-1][msmt_rank1].body == "40.0"


def test_table3_has_the_check_marks_of_the_options(tmp_path: Path) -> None:
    run(tmp_path, cells("MLPHead1 + FC1", "table3")[0], both((0.3, 0.2), (0.7, 0.4)))
    table = accuracy_table(board_of(tmp_path, "table3"))
    parts = ("FC1", "BN1", "MLPHead1", "PriorEmbed", "PosEmbed")
    assert [entry(table, "MLPHead1 + FC1", part) for part in parts] == ["✓", "", "✓", "", ""]
    assert [entry(table, "+ PriorEmbed + PosEmbed", part) for part in parts] == ["✓"] * 5
    assert entry(table, "MLPHead1 + FC1", "paper", "all test sets") == "43.66"
    assert any("43.66 and 43.70" in note for note in table.notes)


def test_published_numbers_are_the_papers() -> None:
    paper = load_published()
    first, second, third = paper["table1"], paper["table2"], paper["table3"]
    assert len(first.rows) == 20
    assert first.row("TransMatcher", "market").tests == {"cuhk03": (22.2, 21.4), "msmt": (47.3, 18.4)}
    assert first.row("OSNet", "msmt_all").tests == {"market": (66.5, 37.2)}
    assert first.row("QAConv-GS", "randperson").value("mAP", "msmt") == 14.4
    printed = {row.label: row.mAcc for row in second.rows}
    assert printed == {
        "ViT": 27.42,
        "Transformer": 27.01,
        "TransMatcher": 44.29,
        "QAConv-GS": None,
        "Transformer-Cat": 25.34,
        "Transformer-Cross": 36.70,
        "Transformer-Cross shared FC": 41.56,
        "TransMatcher small": 42.12,
    }
    means = {
        row.label: round(statistics.fmean(value for pair in row.tests.values() for value in pair), 3)
        for row in second.rows
        if row.tests
    }
    # The paper's own columns do not average to its mAcc.
    assert means["TransMatcher"] == 44.575 and means["ViT"] == 27.975 and means["Transformer-Cross"] == 36.25
    assert second.row("Transformer-Cat", "msmt").hours == 4.89
    assert second.row("QAConv-GS", "msmt").tests == first.row("QAConv-GS", "msmt").tests
    assert [row.mAcc for row in third.rows] == [41.44, 42.82, 43.66, 43.70, 44.04, 44.29, 42.39, 42.56]
    assert sorted(row.mAcc for row in paper["variants"].rows if row.mAcc) == [
        24.92, 25.10, 25.22, 29.52, 33.77, 38.76, 41.56,
    ]  # fmt: skip
    assert paper["tableD"].rows[-1].tests["average"] == (66.6, 74.3)


def test_every_study_row_with_published_numbers_is_found() -> None:
    absent = {
        (name, row.label, train)
        for name in ("table1", "table2", "table3")
        for row in load_study(name).rows
        for train in load_study(name).train
        if load_published()[name].row(row.label, train) is None
    }
    assert absent == {("table2", "cosine", "msmt")}


def test_csv_holds_full_precision(two_seeds: Path) -> None:
    board = board_of(two_seeds)
    frame = pd.read_csv(io.StringIO(to_csv(accuracy_table(board))), dtype={"commit": str})
    row = next(row for row in board.rows if row.label == "TransMatcher")
    values = [(100 * result.rank1) for result in row.results("market")]
    line = frame[(frame.method == "TransMatcher") & (frame.quantity == "rank1") & (frame.test == "market")].iloc[0]
    assert line["mean"] == statistics.fmean(values) and line["spread"] == statistics.stdev(values)
    assert set(frame.commit.dropna()) == {"1111111111"} and set(frame.unit) == {"%"}


def test_latex_is_escaped_and_whole(tmp_path: Path) -> None:
    assert escape_latex(r"50% & a_b #1 {x} $ ~ ^ \ ±") == (
        r"50\% \& a\_b \#1 \{x\} \$ \textasciitilde{} \textasciicircum{} \textbackslash{} $\pm$"
    )
    failure = Failure(phase="training", reason="needs 50% of a_b & more")
    run(tmp_path, cells("ViT")[0], [], status="failed", failure=failure)
    run(tmp_path, cells("TransMatcher")[0], both((0.3, 0.2), (0.7, 0.4)))
    table = accuracy_table(board_of(tmp_path))
    text = to_latex(table)
    assert r"needs 50\% of a\_b \& more" in text
    body = text[text.index("\\midrule") : text.index("\\bottomrule")].splitlines()[1:]
    assert len(body) == len(table.rows)
    assert all(line.count(" & ") == len(table.columns) - 1 and line.endswith(" \\\\") for line in body)
    assert text.count("{") == text.count("}")
    assert not any(ord(character) > 127 for character in text)


def test_narrow_terminals_get_the_columns_in_parts(two_seeds: Path) -> None:
    table = accuracy_table(board_of(two_seeds))
    grid = [line for line in to_text(table, 80).splitlines() if line.startswith(("TransMatcher ", "Method", "---"))]
    assert len(grid) > 6 and max(map(len, grid)) <= 80
    assert sum(line.split().count("paper") for line in grid) == 5


def test_report_only_reads_runs(two_seeds: Path) -> None:
    def state() -> dict[Path, tuple[int, bytes]]:
        files = [path for path in (two_seeds / "runs").rglob("*") if path.is_file()]
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    run(two_seeds, cells("ViT")[0], both((0.3, 0.2), (0.7, 0.4)))
    before = state()
    report = write_report(two_seeds, two_seeds / "report", ["table2"])
    assert state() == before
    assert {path.suffix for path in report.files} == {".md", ".tex", ".csv", ".png", ".pdf"}
    assert all(path.stat().st_size > 0 and path.parent == two_seeds / "report" for path in report.files)
    linked = (two_seeds / "report/report.md").read_text()
    assert all(f"({path.name})" in linked for path in report.files if path.suffix == ".png")
    with pytest.raises(UserError, match="lies among the runs"):
        write_report(two_seeds, two_seeds / "runs/report")


def test_pictures_need_two_rows(two_seeds: Path, tmp_path: Path) -> None:
    assert draw(board_of(two_seeds), tmp_path / "pictures") == []


def test_terminal_prints_runs_once_but_files_hold_all_studies(two_seeds: Path) -> None:
    report = write_report(two_seeds, two_seeds / "report", formats=["markdown"])
    assert "Table 2" in report.text and "Table 1" not in report.text and "Table 3" not in report.text
    assert "bench report --study table1" in report.text
    text = report.files[0].read_text()
    assert all(f"## Table {number}" in text for number in (1, 2, 3))
    asked = write_report(two_seeds, two_seeds / "report", ["table1"], ["text"])
    assert "Table 1" in asked.text and "Table 2" not in asked.text and asked.files == ()


def test_wrong_use_says_what_to_do(tmp_path: Path) -> None:
    for results in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UserError, match="bench run --variants all --train msmt --preset demo"):
            write_report(results, tmp_path / "out")
    with pytest.raises(UserError, match="did you mean 'table2'"):
        write_report(tmp_path, tmp_path / "out", ["tabel2"])
    assert not (tmp_path / "out").exists()


def test_command(two_seeds: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_RESULTS", str(two_seeds))
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    assert command.run(parser.parse_args(["report", "--study", "table2", "--format", "text", "csv"])) == 0
    out = capsys.readouterr().out
    assert "43.00 ±4.24" in out and "\033[" not in out
    assert sorted(path.name for path in (two_seeds / "report").iterdir()) == [
        "table2-paper-accuracy.csv",
        "table2-paper-cost.csv",
    ]
