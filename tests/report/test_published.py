"""The published numbers are the paper's, and every study finds its own."""

from __future__ import annotations

import statistics
from pathlib import Path

from made_up_runs import board_of, both, cells, entry, measured, run

from bench.report.layout import accuracy_table
from bench.report.model import MISSING
from bench.report.published import load_published
from bench.study.definition import load_study


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
    assert [row.mAcc for row in paper["appendix_c"].rows] == [
        25.34, 24.92, 25.10, 25.22, 36.70, 33.77, 29.52, 41.56, 41.52,
    ]  # fmt: skip
    assert [row.mAcc for row in paper["figure2"].rows] == [44.29, 38.76]
    assert paper["tabled"].rows[-1].tests["average"] == (66.6, 74.3)


def test_every_study_row_with_published_numbers_is_found() -> None:
    absent = {
        (name, row.label, train)
        for name in ("table1", "table2", "table3")
        for row in load_study(name).rows
        for train in load_study(name).train
        if load_published()[name].row(row.label, train) is None
    }
    assert absent == {("table2", "cosine", "msmt")}
