"""Sets of one's own on the command line: exported, checked, trained and tested on, and reported."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest

from bench.journal.record import Record, read_records


@pytest.fixture
def exported(bench, tiny_data: Path, tmp_path: Path) -> Path:
    """Market-1501's stand-in as a CSV file."""
    file = tmp_path / "shop.csv"
    found = bench("data", "export", "market", file, "--data-dir", tiny_data / "standin-tiny")
    assert found.code == 0 and "36 training and 35 test images" in found.out, found.err
    return file


def run(bench, tiny_data: Path, results: Path, *words) -> Record:
    found = bench(
        "run", "--variants", "cosine", "--preset", "tiny", "--seeds", "1", "--jobs", "1", "--data-dir", tiny_data,
        "--results", results, *words,
    )  # fmt: skip
    assert found.code == 0, found.out + found.err
    return next(read_records(results))


@pytest.mark.slow
def test_a_set_and_its_export_give_the_same_numbers_to_the_last_bit(bench, tiny_data, exported, tmp_path):
    known = run(bench, tiny_data, tmp_path / "known", "--train", "market", "--test", f"{exported},market")
    own = run(bench, tiny_data, tmp_path / "own", "--train", exported, "--test", f"{exported},market")
    assert own.weights_hash == known.weights_hash and own.cell != known.cell
    name = own.config.train
    assert name.startswith("shop@") and own.cell.startswith(f"cosine-{name}-s0-") and str(tmp_path) not in own.cell
    assert len({result.mAP for record in (own, known) for result in record.tests if result.state == "trained"}) == 1
    assert own.result(name).average_precision == known.result("market").average_precision


@pytest.mark.slow
def test_tables_name_the_set_its_mean_and_that_cameras_are_unknown(bench, tiny_data, exported, tmp_path):
    lines = [line.rpartition(",")[0] for line in exported.read_text().splitlines()]
    exported.write_text("\n".join(lines) + "\n")
    record = run(bench, tiny_data, tmp_path / "r", "--train", exported)
    name = record.config.train
    assert [result.test for result in record.tests if result.state == "trained"] == [name]
    assert record.result(name).left_out == []
    found = bench("report", "--results", tmp_path / "r")
    assert found.code == 0 and f"trained on {name}" in found.out
    assert f"{name}: cameras are unknown, so no image is left out for the query's camera." in found.out
    tables = list((tmp_path / "r" / "report").glob("*.tex"))
    assert tables and all("cameras are unknown" in table.read_text() for table in tables)
    values = pandas.read_csv(next((tmp_path / "r" / "report").glob("*-accuracy.csv")))
    assert {*values.left_out[values.test == name].dropna()} == {"nothing"}
    status = bench("status", "--train", exported, "--preset", "tiny", "--seeds", "1", "--results", tmp_path / "r")
    assert "1 of 9 done" in status.out and name in status.out


def test_the_check_prints_what_is_there_and_ends_as_for_other_sets(bench, exported, tiny_data):
    found = bench("data", "check", exported, "--data-dir", tiny_data)
    assert found.code == 0 and "identities" in found.out and "shop@" in found.out, found.err
    text = exported.read_text()
    exported.write_text(text + f"1,gone.jpg,test,False,True,0\n{text.splitlines()[1].replace('train', 'train')}\n")
    found = bench("data", "check", exported, "--data-dir", tiny_data)
    assert found.code == 1 and "gone.jpg" in found.out and "listed twice for train" in found.out


def test_an_export_overwrites_nothing_and_the_template_goes_to_the_terminal(bench, exported, tiny_data):
    before = exported.read_bytes()
    found = bench("data", "export", "cuhk03", exported, "--data-dir", tiny_data / "standin-tiny")
    assert found.code == 2 and "there already" in found.err and exported.read_bytes() == before
    assert "label,path,split,is_query,is_gallery" in bench("data", "template").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--train", "nowhere.csv"], "nowhere.csv cannot be read"),
        (["--train", "gone@123abc"], "the file of the set gone@123abc is not known here"),
        (["--train", "market", "--test", "{train_only}"], "has no lines of split test"),
        (["--train", "{shared}"], "1 identities are both in training and in test"),
        (["--train", "{broken}"], "lacks the column 'label'"),
    ],
)
def test_a_run_refuses_what_it_cannot_use_before_anything_runs(bench, exported, tiny_data, tmp_path, words, said):
    lines = exported.read_text().splitlines()
    files = {
        "train_only": [line for line in lines if ",test," not in line],
        "shared": [*lines[:-1], lines[1].partition(",")[0] + "," + lines[-1].partition(",")[2]],
        "broken": [lines[0].replace("label", "lable"), *lines[1:]],
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(content) + "\n")
    places = {name: str(tmp_path / f"{name}.csv") for name in files}
    found = bench(
        "run", "--variants", "cosine", "--preset", "tiny", "--seeds", "1", "--data-dir", tiny_data, "--results",
        tmp_path / "r", *(word.format(**places) for word in words),
    )  # fmt: skip
    assert found.code == 2 and said in found.err and found.err.count("\n") == 1, found.err
    assert not list((tmp_path / "r").glob("runs/*"))
