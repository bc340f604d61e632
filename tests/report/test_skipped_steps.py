"""A table says of its runs how many of their training steps changed nothing."""

from __future__ import annotations

from made_up_runs import board_of, both, cells, run

from bench.report.layout import accuracy_table
from bench.report.notes import skipped_steps


def test_a_row_with_skipped_steps_has_a_footnote_and_others_have_none(tmp_path):
    first, second, *_ = cells("TransMatcher")
    results = both((0.30, 0.20), (0.70, 0.40))
    run(tmp_path, first, results, steps=15_000, skipped_steps=9)
    run(tmp_path, second, results, steps=15_000, skipped_steps=3)
    run(tmp_path, cells("ViT")[0], results, steps=15_000)
    board = board_of(tmp_path)
    rows = {row.label: skipped_steps(row) for row in board.rows}
    told = "12 of 30,000 training steps were skipped, since their gradient overflowed in fp16."
    assert rows["TransMatcher"] == [told] and rows["ViT"] == []
    assert [note for note in accuracy_table(board).footnotes if "skipped" in note] == [told]
