"""Tables tell rows apart: letters, the matrix, all numbers as CSV, and rows that cannot be compared are named."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from made_up_runs import board_of, cells, entry, measured, run

from bench.report.differences import differences
from bench.report.layout import accuracy_table, differences_table
from bench.report.render import to_csv, to_latex, to_markdown, to_text

pytestmark = pytest.mark.slow

PERSONS = np.repeat(np.arange(25), 4)


def result(test, good, seed=0, **changes):
    """A test of 25 persons, four queries each, whose average precisions lie around `good`."""
    draws = np.random.default_rng((seed, len(test), int(1000 * good)))
    values = np.clip(good + 0.1 * draws.standard_normal(100), 0, 1)
    ranks = np.where(draws.random(100) < good, 1, 5)
    known = {"query_person": PERSONS.tolist(), "first_rank": ranks.tolist(), "average_precision": values.tolist()}
    return measured(test, float((ranks == 1).mean()), float(values.mean()), **(known | changes))


def record(folder, label, good, seed=0, **changes):
    run(folder, cells(label)[seed], [result(test, good, seed, **changes) for test in ("cuhk03", "market")])


@pytest.fixture
def three_rows(tmp_path):
    for label, good in (("ViT", 0.3), ("TransMatcher", 0.8), ("cosine", 0.3)):
        record(tmp_path, label, good)
    return tmp_path


def test_letters_stand_behind_macc(three_rows):
    table = accuracy_table(board_of(three_rows))
    shown = {label: entry(table, label, "mAcc", "all test sets").split()[-1] for label in ("ViT", "TransMatcher")}
    assert shown == {"ViT": "b", "TransMatcher": "a"}
    assert entry(table, "cosine", "mAcc", "all test sets").endswith(" b")
    assert any("one seed" in line and "share a letter" in line for line in table.legend)


def test_the_matrix_and_its_values(three_rows):
    board = board_of(three_rows)
    table = differences_table(board)
    assert table.slug.endswith("-differences") and len(table.rows) == 3 and len(table.columns) == 4
    assert "≠" in to_text(table) and "$\\neq$" in to_latex(table) and "≠" in to_markdown(table)
    frame = pd.read_csv(io.StringIO(to_csv(table)), dtype={"seed": str})
    # 3 pairs, two accuracies on two test sets and mAcc, all seeds and the one seed.
    assert len(frame) == 3 * 5 * 2 and set(frame.seed) == {"0", "all"}
    assert (frame.low <= frame.difference).all() and (frame.difference <= frame.high).all()
    assert (frame.p_holm >= frame.p).all() and set(frame.persons) == {25, 50} and set(frame.queries) == {100, 200}
    row = {item.label: item for item in board.rows}
    line = frame[(frame.method == "ViT") & (frame.other == "TransMatcher") & (frame.quantity == "mAP")]
    line = line[line.test == "market"].iloc[0]
    expected = 100 * (row["ViT"].results("market")[0].mAP - row["TransMatcher"].results("market")[0].mAP)
    assert line.difference == pytest.approx(expected)


def test_seeds_are_shown_apart(three_rows):
    for label, good in (("ViT", 0.3), ("TransMatcher", 0.8)):
        record(three_rows, label, good, seed=1)
    found = differences(board_of(three_rows))
    pair = next(pair for pair in found.pairs if len(pair.of("mAcc").seeds) == 2)
    each = [pair.of("mAcc", seed=seed).value for seed in (0, 1)]
    assert pair.of("mAcc").value == pytest.approx(np.mean(each)) and pair.of("mAcc", seed=2) is None
    assert [line[1].body for line in differences_table(board_of(three_rows)).rows] == [
        *["all"] * 3,
        *["0"] * 3,
        *["1"] * 3,
    ]


def test_rows_without_persons_are_named(three_rows):
    record(three_rows, "Transformer", 0.5, query_person=[])
    table = accuracy_table(board_of(three_rows))
    said = next(line for line in table.legend if line.startswith("no intervals for Transformer:"))
    assert "bench run --lists" in said and entry(table, "Transformer", "mAcc", "all test sets")[-1].isdigit()


def test_other_queries_are_not_compared(three_rows):
    record(three_rows, "Transformer", 0.5, fingerprint="other pictures")
    found = differences(board_of(three_rows))
    at = next(at for at, row in enumerate(found.rows) if row.name == "Transformer")
    assert all(not pair.differences for pair in found.pairs if at in (pair.first, pair.second))
