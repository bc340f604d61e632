"""What cannot be read costs a report its own row alone; all of it is told at the end, and the exit code says so."""

from __future__ import annotations

import pytest
from damaged import DAMAGES, REFUSALS, refuse
from made_up_runs import both, cells, measured, run

from bench.journal.record import RECORD


@pytest.fixture
def four(tmp_path):
    """Four seeds of ViT, by their files."""
    records = [run(tmp_path, cell, both((0.3, 0.2), (0.7, 0.4))) for cell in cells("ViT")]
    return [tmp_path / "runs" / record.cell / RECORD for record in records]


@pytest.fixture
def report(bench, tmp_path):
    def call(*arguments):
        found = bench("report", "--results", tmp_path, "--format", "text", *arguments)
        assert "Traceback" not in found.err and "cannot write" not in found.out + found.err
        return found

    return call


def test_the_other_runs_are_reported_and_all_bad_ones_told(four, report, tmp_path, monkeypatch):
    words = {}
    spoiled = [cell for label in ("TransMatcher", "Transformer", "cosine") for cell in cells(label)]
    for cell, how in zip(spoiled, [*DAMAGES, *REFUSALS], strict=False):
        record = run(tmp_path, cell, both((0.9, 0.8), (0.7, 0.6)))
        path = tmp_path / "runs" / record.cell / RECORD
        if how in DAMAGES:
            spoil, words[path] = DAMAGES[how]
            spoil(path)
        else:
            words[path] = REFUSALS[how]
            refuse(path, how, monkeypatch)
    found = report()
    assert found.code == 1 and "4 runs in" in found.out
    table, _, listed = found.out.partition(f"{len(words)} files were passed over:")
    assert " 4\n" in next(line for line in table.splitlines(True) if line.startswith("ViT "))
    lines = {line.split()[0]: line for line in listed.strip().splitlines()}
    assert lines.keys() == {str(path) for path in words}
    assert all(text in lines[str(path)] for path, text in words.items())


def test_all_bad_ones_are_named_in_the_page_too(four, report, tmp_path):
    four[0].write_text("")
    four[2].write_text("{}")
    found = report("markdown")
    page = (tmp_path / "report" / "report.md").read_text()
    for text in (found.out, page):
        assert "2 files were passed over" in text and four[0].parent.name in text and four[2].parent.name in text


def test_a_folder_of_nothing_but_bad_ones_writes_no_page(four, report, tmp_path):
    for path in four:
        path.write_text("")
    found = report("markdown")
    assert found.code == 1 and "4 files were passed over" in found.out and not (tmp_path / "report").exists()


def test_whole_records_leave_nothing_to_say(four, report):
    found = report()
    assert found.code == 0 and "4 runs in" in found.out and "passed over" not in found.out


@pytest.mark.parametrize("where", ["test", "train"])
def test_a_data_set_of_another_version_costs_that_run_alone(where, four, report, tmp_path):
    cell = cells("cosine")[0]
    if where == "test":
        run(tmp_path, cell, [measured("duke", 0.3, 0.2)])
    else:
        config = cell.config.model_copy(update={"train": "duke"})
        run(tmp_path, cell, both((0.3, 0.2), (0.7, 0.4)), config=config)
    found = report()
    assert found.code == 1 and "4 runs in" in found.out and "unknown data set: duke" in found.out


def test_damaged_speed_records_cost_no_table(four, report, tmp_path):
    (tmp_path / "perf").mkdir()
    contents = ["", "{}", "[]", "null", "\x00\xff", '{"sizes": 1}']
    for number, content in enumerate(contents):
        (tmp_path / "perf" / f"{number}.json").write_text(content)
    (tmp_path / "perf" / "folder.json").mkdir()
    found = report()
    assert found.code == 1 and "4 runs in" in found.out and "7 files were passed over" in found.out
    assert found.out.count("`bench perf` measures anew") == 7
    assert report("--study", "speed").code == 1
