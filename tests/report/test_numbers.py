"""Exact numbers by hand: means, spreads, costs, chance, and the cells that lack them."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import pytest
from made_up_runs import board_of, both, cells, entry, measured, run, values_of

from bench.journal.record import Failure, Level
from bench.report.layout import accuracy_table, cost_table, tables
from bench.report.model import CHANCE, MISSING


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
