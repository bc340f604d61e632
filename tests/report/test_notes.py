"""What must be said above and below tables: runs that differ, settings, stand-in data."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_up_runs import STANDIN, board_of, both, cells, entry, measured, run, values_of
from matplotlib.figure import Figure

from bench.journal.record import Failure, read_records
from bench.report.collect import collect
from bench.report.layout import accuracy_table, cost_table, tables
from bench.report.model import MISSING, OUTSIDE
from bench.report.render import to_latex, to_markdown, to_text
from bench.report.write import write_report
from bench.study.definition import load_preset, load_study
from bench.study.plan import plan


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
    run(tmp_path, mine, both((0.3, 0.2), (0.7, 0.4)), numerics={"head": 1, "layers": 2, "trainer": 1})
    run(
        tmp_path,
        mine,
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

    def saved(figure: Figure, content: io.BytesIO, **_: Any) -> None:
        texts = [figure.get_suptitle(), *(axes.get_title(loc="left") for axes in figure.axes)]
        titles.append(" ".join(texts))

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
