"""Tables of sources and protocols: pairs, averages, the literature's rows, and what sets are called."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_runs import board_of, cells, entry, measured, run, values_of

from bench.journal.record import read_records
from bench.report.collect import collect
from bench.report.layout import accuracy_table, cost_table, tables
from bench.report.model import LITERATURE, MISSING
from bench.report.published import load_published
from bench.report.render import to_latex
from bench.report.sources import read_sources
from bench.report.titles import letters, set_title, short_title, source_title
from bench.study.definition import load_study, study_names

pytestmark = pytest.mark.slow

SOURCES = {
    "cuhk03": "cuhksysu+market+msmt",
    "msmt": "cuhk03+cuhksysu+market",
    "market": "cuhk03+cuhksysu+msmt",
}
"""Sources of protocol 2 by the set that each leaves out."""


def protocol2(results: Path, label: str, seed: int, accuracies: dict[str, tuple[float, float]]) -> None:
    for test, (rank1, mAP) in accuracies.items():
        run(results, cells(label, "protocol2", train=SOURCES[test])[seed], [measured(test, rank1, mAP)])


def test_titles_of_sources() -> None:
    assert source_title("cuhksysu+market+msmt") == "Market-1501 + MSMT17 + CUHK-SYSU"
    assert source_title("msmt_all") == "MSMT17 all images"
    assert short_title("cuhk03_all+cuhksysu+market_all") == "M+C3+CS"
    assert letters(["cuhk03_all+cuhksysu", "viper"]) == "C3: CUHK03-NP all images, CS: CUHK-SYSU, VIPeR: VIPeR"
    assert set_title("a set of a later version") == "a set of a later version"


def test_one_line_a_method_and_columns_for_each_pair(tmp_path: Path) -> None:
    protocol2(tmp_path, "TransMatcher", 0, {"cuhk03": (0.4, 0.3), "msmt": (0.5, 0.2), "market": (0.9, 0.7)})
    table = accuracy_table(board_of(tmp_path, "protocol2"))
    groups = list(dict.fromkeys(column.group for column in table.columns if column.group))
    assert groups == ["M+MS+CS → C3", "M+C3+CS → MS", "MS+C3+CS → M", "average"]
    headings = [column.heading for column in table.columns]
    assert headings == ["Method", "Venue", *["mAP", "Rank-1"] * 4, "seeds"]
    assert [row[0].body for row in table.rows].count("TransMatcher") == 1
    assert entry(table, "TransMatcher", "mAP", "M+C3+CS → MS") == "20.0"
    assert entry(table, "TransMatcher", "mAP", "average") == "40.0"
    assert entry(table, "TransMatcher", "Rank-1", "average") == "60.0"
    assert entry(table, "cosine", "mAP", "average") == MISSING
    assert any(note.startswith("M: Market-1501, MS: MSMT17, C3: CUHK03-NP, CS: CUHK-SYSU") for note in table.notes)
    assert "$\\rightarrow$" in to_latex(table)


def test_an_average_needs_all_pairs_of_a_seed(tmp_path: Path) -> None:
    protocol2(tmp_path, "TransMatcher", 0, {"cuhk03": (0.4, 0.3), "msmt": (0.5, 0.2)})
    assert entry(accuracy_table(board_of(tmp_path, "protocol2")), "TransMatcher", "mAP", "average") == MISSING
    for seed, more in ((1, 0.0), (2, 0.06)):
        everywhere = {"cuhk03": (0.4, 0.3 + more), "msmt": (0.5, 0.2 + more), "market": (0.9, 0.7 + more)}
        protocol2(tmp_path, "TransMatcher", seed, everywhere)
    table = accuracy_table(board_of(tmp_path, "protocol2"))
    assert entry(table, "TransMatcher", "mAP", "average") == "43.0 ±4.2 [3]"
    assert table.footnotes[2] == "Averages over the 2 of 3 seeds with all test sets."
    values = values_of(table, "TransMatcher", "average_mAP")
    assert values["mean"] == pytest.approx(43.0) and values["seeds"] == 2
    assert entry(table, "TransMatcher", "seeds") == "3/4, 3/4, 2/4"


def test_the_literature_stands_above_as_printed(tmp_path: Path) -> None:
    protocol2(tmp_path, "TransMatcher", 0, {"cuhk03": (0.4, 0.3)})
    table = accuracy_table(board_of(tmp_path, "protocol2"))
    names = [row[0].body for row in table.rows]
    assert names.index("CLIP-FGDI") < names.index("TransMatcher") and names[-5] == "ViT"
    assert LITERATURE in entry(table, "CLIP-FGDI", "Method")
    assert entry(table, "CLIP-FGDI", "Venue") == "TIFS'25"
    assert entry(table, "CLIP-FGDI", "mAP", "M+MS+CS → C3") == "44.4"
    averages = [entry(table, "CLIP-FGDI", heading, "average") for heading in ("mAP", "Rank-1")]
    assert averages == ["51.6", "65.1"]
    assert any("from the method's open code" in text for text in table.footnotes)
    assert "From DSM-CLIP (2025), table P-2." in table.footnotes


def test_single_source_has_six_pairs_and_published_values_beside_the_same_method(tmp_path: Path) -> None:
    both = [measured("cuhk03", 0.2, 0.1), measured("msmt", 0.4, 0.3)]
    run(tmp_path, cells("TransMatcher", "single_source", train="market")[0], both)
    table = accuracy_table(board_of(tmp_path, "single_source"))
    pairs = [column.group for column in table.columns if "→" in column.group]
    assert list(dict.fromkeys(pairs)) == ["M → C3", "M → MS", "MS → C3", "MS → M", "C3 → M", "C3 → MS"]
    assert entry(table, "TransMatcher", "mAP", "M → MS") == "30.0"
    published = [(column.heading, column.full) for column in table.columns if column.group == "M → MS"]
    assert published[1] == ("published", "M → MS mAP (published)")
    row = next(row for row in table.rows if row[0].body == "TransMatcher")
    assert [text.body for text, column in zip(row, table.columns, strict=True) if column.group == "M → MS"] == [
        "30.0", "18.4", "40.0", "47.3",
    ]  # fmt: skip


def test_table_d_is_tested_on_the_sets_of_its_study_and_marks_the_withdrawn_set(tmp_path: Path) -> None:
    source = load_study("tabled").train[0]
    tests = [measured(test, 0.5, 0.6) for test in ("viper", "prid", "grid", "ilids")]
    run(tmp_path, cells("TransMatcher (ResNet-50)", "tabled", train=source)[0], tests)
    board = board_of(tmp_path, "tabled")
    table = accuracy_table(board)
    assert board.tests == ("viper", "prid", "grid", "ilids")
    assert entry(table, "TransMatcher (ResNet-50)", "Rank-1", "average") == "50.0"
    row = next(row for row in table.rows if row[0].body == "TransMatcher (ResNet-50)")
    shown = [text.body for text, column in zip(row, table.columns, strict=True) if column.group == "average"]
    assert shown == ["50.0", "66.6", "60.0", "74.3"]
    literature = [row[0] for row in table.rows if LITERATURE in row[0].marks]
    assert {"DualNorm (MobileNetV2) [10, 3]", "DualNorm (ResNet-50) [10, 3]"} <= {text.body for text in literature}
    assert all("1" in text.marks for text in literature) and "DukeMTMC-reID" in table.footnotes[0]
    beside = [text.marks for text, column in zip(row, table.columns, strict=True) if column.heading == "paper"]
    assert row[0].marks == () and set(beside) == {("1",)}
    assert "Market-1501 all images + CUHK02 + CUHK03-NP all images + CUHK-SYSU" in table.title
    # The runs are protocol 1's as well, whose tests stand in the order of its literature.
    other = board_of(tmp_path, "protocol1")
    assert other.tests == ("prid", "grid", "viper", "ilids")
    assert entry(accuracy_table(other), "TransMatcher", "mAP", "average") == "60.0"


def test_a_mean_lacks_where_a_test_set_of_the_study_lacks(tmp_path: Path) -> None:
    source = load_study("tabled").train[0]
    run(tmp_path, cells("TransMatcher", "protocol1", train=source)[0], [measured("prid", 0.5, 0.6)])
    board = board_of(tmp_path, "protocol1")
    assert entry(accuracy_table(board), "TransMatcher", "mAP", "average") == MISSING
    assert entry(cost_table(board), "TransMatcher", "mAcc (%)") == MISSING


def test_runs_on_sources_of_other_studies_widen_no_table(tmp_path: Path) -> None:
    run(tmp_path, cells("TransMatcher", "table1", train="market")[0], [measured("msmt", 0.4, 0.2)])
    run(tmp_path, cells("TransMatcher", "table2", train="cuhk03")[0], [measured("msmt", 0.4, 0.2)])
    first = board_of(tmp_path, "table1")
    assert first.trains == ("market", "msmt", "msmt_all", "randperson")
    assert {row.train for row in first.rows} == set(first.trains)
    shown = {record.cell for board in collect(read_records(tmp_path)) for row in board.rows for record in row.records}
    assert len(shown) == 2


def test_a_record_of_an_unknown_source_is_passed_over_by_name(tmp_path: Path) -> None:
    record = run(tmp_path, cells("ViT")[0], [measured("market", 0.4, 0.2)])
    path = tmp_path / "runs" / record.cell / "record.json"
    path.write_text(path.read_text().replace('"train": "msmt"', '"train": "msmt+moon"'))
    sources = read_sources(tmp_path, speed=False, shortlists=False)
    assert not sources.records and "unknown data set: msmt+moon" in str(sources.unreadable[0])


@pytest.mark.parametrize("name", study_names())
def test_every_study_makes_tables_from_one_run(name: str, tmp_path: Path) -> None:
    study = load_study(name)
    cell = cells(study.whole_rows[0].label, name, train=study.train[0])[0]
    run(tmp_path, cell, [measured(test, 0.4, 0.2) for test in cell.tests])
    made = tables(board_of(tmp_path, name), ["rank5", "rank10", "mINP"])
    assert len(made[0].rows) >= len(study.whole_rows) and all(len(row) == len(made[0].columns) for row in made[0].rows)
    assert study.published in load_published()
