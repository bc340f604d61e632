"""The forms of a report: terminal, CSV, LaTeX, pictures, files."""

from __future__ import annotations

import argparse
import io
import statistics
from pathlib import Path

import pandas as pd
import pytest
from made_up_runs import board_of, both, cells, run

from bench.commands import report as command
from bench.errors import UserError
from bench.journal.record import Failure
from bench.report.figures import draw
from bench.report.layout import accuracy_table
from bench.report.render import escape_latex, to_csv, to_latex, to_text
from bench.report.write import write_report


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


@pytest.mark.slow
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


def test_pictures_need_two_rows(two_seeds: Path) -> None:
    assert draw(board_of(two_seeds)) == {}


def test_terminal_prints_runs_once_but_files_hold_all_studies(two_seeds: Path) -> None:
    report = write_report(two_seeds, two_seeds / "report", formats=["markdown"])
    assert "Table 2" in report.text and "Table 1" not in report.text and "Table 3" not in report.text
    assert "bench report --study figure2" in report.text and "table1" in report.text
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
