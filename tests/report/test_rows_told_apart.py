"""Rows are told apart by what they are, not by how they are called: in reports, in status, while running."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from made_up_runs import both, cells, entry, run

from bench.journal.record import read_records
from bench.report.collect import collect
from bench.report.layout import accuracy_table, cost_table
from bench.report.model import OUTSIDE
from bench.study.definition import load_preset, load_study
from bench.study.names import tell_apart
from bench.study.plan import plan

SOURCE = '''"""A head."""

from variants import vit


class Mine(vit.ViT):
    """Number {number}."""
'''


@pytest.fixture
def heads(tmp_path):
    """Two head files of one name and other content."""
    paths = []
    for number in (1, 2):
        path = tmp_path / str(number) / "mine.py"
        path.parent.mkdir()
        path.write_text(SOURCE.format(number=number))
        paths.append(path)
    return paths


def letters(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:6]


def planned(*select):
    return plan(load_study("table2"), load_preset(None), {}, [str(word) for word in select], seeds=[0, 1])


def report_of(results):
    return accuracy_table(collect(read_records(results), ["table2"])[0])


def test_two_files_of_one_name_have_two_rows_each_with_its_seeds(heads, tmp_path):
    results = tmp_path / "results"
    for cell, rank1 in zip(planned(*heads), (0.1, 0.2, 0.5, 0.6), strict=True):
        name = f"mine-{cell.config.head_digest[:3]}-{cell.config.seed}"
        run(results, cell, both((rank1, rank1), (rank1, rank1)), name=name)
    table = report_of(results)
    first, second = (f"mine ({letters(path)})" for path in heads)
    assert [row[0].body for row in table.rows if row[0].body.startswith("mine")] == sorted([first, second])
    assert entry(table, first, "mAcc", "all test sets").startswith("15.00")
    assert entry(table, second, "mAcc", "all test sets").startswith("55.00")
    assert entry(table, first, "Method").endswith(OUTSIDE) and "left out" not in " ".join(table.footnotes)
    assert {value.method for value in table.values} >= {first, second}


def test_a_name_alone_stays_as_it_is(heads, tmp_path):
    for cell in planned(heads[0]):
        run(tmp_path / "results", cell, both((0.3, 0.2), (0.7, 0.4)))
    assert entry(report_of(tmp_path / "results"), "mine", "seeds") == "2/4"


def test_a_head_that_is_called_as_one_of_the_suite_is_no_such(tmp_path):
    own = cells("cosine")[0]
    run(tmp_path, own, both((0.5, 0.5), (0.5, 0.5)), name="own")
    foreign = own.config.model_copy(update={"head_digest": "ab" * 32})
    run(tmp_path, own, both((0.1, 0.1), (0.1, 0.1)), name="foreign", config=foreign)
    table = report_of(tmp_path)
    assert entry(table, "cosine", "mAcc", "all test sets") == "50.00"
    assert entry(table, "cosine (ababab)", "mAcc", "all test sets") == "10.00"


def test_differences_are_told_of_each_row(heads, tmp_path):
    results = tmp_path / "results"
    for cell, device in zip(planned(*heads)[::2], ("NVIDIA H200", "NVIDIA A100"), strict=True):
        run(results, cell, both((0.3, 0.2), (0.7, 0.4)), name=device, provenance={"device": device})
    notes = " ".join(cost_table(collect(read_records(results), ["table2"])[0]).notes)
    first, second = (f"mine ({letters(path)})" for path in heads)
    assert f"NVIDIA H200 ({first})" in notes and f"NVIDIA A100 ({second})" in notes


def test_one_head_with_other_options_has_letters_of_its_configuration():
    [first, *_] = cells("ViT")
    wide = dataclasses.replace(first, config=first.config.model_copy(update={"width": 64}))
    names = tell_apart([(cell.label, cell.config) for cell in (first, wide, cells("ViT")[1])])
    assert names[0] == names[2] != names[1] and all(name.startswith("ViT (") for name in names)
    assert tell_apart([(cell.label, cell.config) for cell in cells("ViT")]) == ["ViT"] * 4
    assert tell_apart([]) == []


def test_status_shows_both(heads, bench, tmp_path):
    results = tmp_path / "results"
    first = planned(heads[0])[0]
    run(results, first, both((0.3, 0.2), (0.7, 0.4)), config=first.config.model_copy(update={"threads": 1}))
    asked = ("--variants", f"{heads[0]},{heads[1]}", "--seeds", "1", "--results", results)
    found = bench("status", *asked)
    rows = {line.rsplit(maxsplit=2)[0]: line.split()[-1] for line in found.out.splitlines() if line.startswith("mine")}
    assert rows == {f"mine ({letters(heads[0])})": "done", f"mine ({letters(heads[1])})": "missing"}
    assert "1 of 2 done" in found.out
    assert "mine (" not in bench("status", *asked[:1], heads[0], *asked[2:]).out
