"""Small sets in tables: means over splits, their spread apart from the seeds', split 0, and which splits they were."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_runs import board_of, cells, entry, measured, run, values_of

from bench.journal.record import SplitResult
from bench.journal.record import TestResult as Result
from bench.report.layout import accuracy_table, splits_table, tables
from bench.study.definition import load_study

SOURCE = load_study("protocol1").train[0]


def split_test(test: str, *shares: float, **changes: object) -> Result:
    """A result whose splits have these Rank-1 and, a tenth above, mAP."""
    splits = [
        SplitResult(
            split=number,
            swapped=False,
            rank1=share,
            mAP=share + 0.1,
            mAP_trapezoid=share,
            cmc=[share] * 20,
            queries=10,
            gallery_images=10,
        )
        for number, share in enumerate(shares)
    ]
    mean = sum(shares) / len(shares)
    return measured(test, mean, mean + 0.1, splits=splits, split_source="pairbench's splits 1 (abcd1234)", **changes)


@pytest.fixture
def two_seeds_of_prid(tmp_path: Path) -> Path:
    first, second, *_ = cells("TransMatcher", "protocol1", train=SOURCE)
    run(tmp_path, first, [split_test("prid", 0.2, 0.4, 0.6)])
    run(tmp_path, second, [split_test("prid", 0.4, 0.6, 0.8)])
    return tmp_path


def test_spreads_over_splits_and_over_seeds_stand_apart(two_seeds_of_prid: Path) -> None:
    table = splits_table(board_of(two_seeds_of_prid, "protocol1"))
    assert len(table.rows) == 1
    headings = ("mean", "± splits", "split 0", "± seeds")
    assert [entry(table, "TransMatcher", heading, "Rank-1") for heading in headings] == ["50.0", "20.0", "30.0", "14.1"]
    assert [entry(table, "TransMatcher", heading, "mAP") for heading in headings] == ["60.0", "20.0", "40.0", "14.1"]
    assert entry(table, "TransMatcher", "Test set") == "PRID"
    assert values_of(table, "TransMatcher", "rank1_over_splits", "prid")["mean"] == pytest.approx(20.0)
    assert values_of(table, "TransMatcher", "mAP_split0", "prid")["mean"] == pytest.approx(40.0)


def test_every_table_says_which_splits_were_used(two_seeds_of_prid: Path) -> None:
    for table in tables(board_of(two_seeds_of_prid, "protocol1")):
        assert "PRID: mean over 3 splits: pairbench's splits 1 (abcd1234)." in table.notes


def test_sets_without_splits_have_no_such_table(tmp_path: Path) -> None:
    run(tmp_path, cells("ViT")[0], [measured("cuhk03", 0.4, 0.3), measured("market", 0.4, 0.3)])
    assert [table.slug.rsplit("-", 1)[1] for table in tables(board_of(tmp_path))] == ["accuracy", "cost"]


def test_columns_on_request_and_always_in_the_values(two_seeds_of_prid: Path) -> None:
    board = board_of(two_seeds_of_prid, "protocol1")
    plain, wide = accuracy_table(board), accuracy_table(board, ["rank5", "mINP"])
    assert "Rank-5" not in {column.heading for column in plain.columns}
    assert entry(wide, "TransMatcher", "Rank-5", "PRID") == "50.0 ±14.1"
    assert entry(wide, "TransMatcher", "mINP", "PRID") == "·"  # older records do not know it
    assert values_of(plain, "TransMatcher", "rank10", "prid")["mean"] == pytest.approx(50.0)
    assert values_of(plain, "TransMatcher", "mINP", "prid")["status"] == "missing"


def test_minp_is_shown_where_records_know_it(tmp_path: Path) -> None:
    run(tmp_path, cells("ViT")[0], [measured("cuhk03", 0.4, 0.3, mINP=0.125), measured("market", 0.4, 0.3)])
    table = accuracy_table(board_of(tmp_path), ["mINP"])
    assert (entry(table, "ViT", "mINP", "CUHK03-NP"), entry(table, "ViT", "mINP", "Market-1501")) == ("12.5", "·")


def test_unknown_columns_are_refused(two_seeds_of_prid: Path, bench) -> None:
    found = bench("report", "--results", two_seeds_of_prid, "--columns", "rank5,mINPP", "--format", "text")
    assert found.code == 2 and "unknown column 'mINPP' (did you mean 'mINP'?)" in found.err
    found = bench("report", "--results", two_seeds_of_prid, "--columns", "rank5,mINP", "--format", "text")
    assert found.code == 0 and "Rank-5" in found.out
