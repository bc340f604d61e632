"""Studies of one's own: a file in the form of the shipped ones, checked as these are."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_runs import both, run
from places import ROOT

from bench.study.definition import load_preset, load_study
from bench.study.plan import plan

STUDY = """\
title: Learning rates of mine
train: [msmt]
seeds: 2
base: {width: 64}
rows:
  - {label: mine, head: cosine}
  - {label: QAConv, head: qaconv}
sweep:
  training.lr: [0.001, 0.01]
  width: [32, 64]
published:
  source: my thesis
  rows:
    - {label: mine, train: msmt, tests: {market: [50, 30]}, mAcc: 40.0}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "rates.yaml"
    path.write_text(STUDY)
    return path


def test_a_sweep_over_any_key_makes_rows_that_differ_in_it_alone(study):
    cells = {cell.label: cell.config for cell in plan(load_study(str(study)), load_preset(None), {}, seeds=[0])}
    assert [*cells] == ["mine", "mine lr=0.001", "mine lr=0.01", "mine width=32",
                        "QAConv", "QAConv lr=0.001", "QAConv lr=0.01", "QAConv width=32"]  # fmt: skip
    assert (cells["mine"].training.lr, cells["mine lr=0.01"].training.lr, cells["mine"].width) == (0.005, 0.01, 64)
    assert cells["mine lr=0.01"].model_copy(update={"training": cells["mine"].training}) == cells["mine"]


def test_its_rows_are_listed(bench, study):
    found = bench("list", "studies", study)
    assert found.code == 0 and "16 runs: 8 rows x 1 training set x 2 seeds" in found.out, found.err
    assert "mine width=32: cosine, width=32" in found.out and "table2" not in found.out


def test_status_report_and_cancel_take_it(bench, study, tmp_path):
    results = tmp_path / "results"
    for cell in plan(load_study(str(study)), load_preset(None), {}):
        if cell.label == "mine":
            run(results, cell, both((0.3, 0.2), (0.5, 0.4)), name=f"mine-{cell.config.seed}")
    status = bench("status", "--study", study, "--results", results)
    assert status.code == 0 and "Learning rates of mine" in status.out and "2 of 16 done" in status.out
    report = bench("report", "--study", study, "--results", results, "--format", "text", "csv")
    assert report.code == 0 and "Learning rates of mine" in report.out and "40.00" in report.out, report.err
    assert "Literature: my thesis." in report.out
    assert (results / "report" / "rates-paper-accuracy.csv").is_file()
    assert bench("cancel", "--study", study, "--results", results).out.startswith("0 cancelled")


def test_without_values_of_others_nothing_stands_beside(bench, study, tmp_path):
    study.write_text(STUDY.partition("published:")[0])
    cell = plan(load_study(str(study)), load_preset(None), {})[0]
    run(tmp_path / "results", cell, both((0.3, 0.2), (0.5, 0.4)))
    found = bench("report", "--study", study, "--results", tmp_path / "results", "--format", "text")
    assert found.code == 0 and "published" not in found.out and "Literature" not in found.out


def test_curves_go_along_keys_of_the_recipe(study, tmp_path):
    from bench.report.collect import collect
    from bench.report.curves import panels

    study.write_text(STUDY.replace("seeds: 2", "seeds: 2\nlayout: curves"))
    own = load_study(str(study))
    records = [
        run(tmp_path, cell, both((0.3, 0.2), (0.5, 0.4)), name=f"{number}")
        for number, cell in enumerate(plan(own, load_preset(None), {}))
    ]
    (board,) = collect(records, ["rates"], {"rates": own})
    rates, widths = panels(board)
    assert rates.values == [0.001, 0.005, 0.01] and widths.values == [32, 64]


def test_paths_in_it_are_those_beside_it(tmp_path, study):
    study.write_text(STUDY.replace("train: [msmt]", "train: [msmt+sets/my.csv]\ntests: [sets/my.csv, market]"))
    found = load_study(str(study))
    assert found.train == [f"msmt+{tmp_path}/sets/my.csv"] and found.tests == [f"{tmp_path}/sets/my.csv", "market"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("seeds: 2", "seeds: 2\ncolour: red"), ["rates.yaml", "unknown key 'colour'"]),
        (("head: cosine", "head: cosine, widht: 3"), ["rates.yaml", "widht"]),
        (("training.lr", "training.lrr"), ["sweep takes", "not 'training.lrr'", "did you mean 'training.lr'"]),
        (("training.lr", "options.lr"), ["mine lr=0.001", "lr"]),
        (("[0.001, 0.01]", "[0.001, fast]"), ["training.lr", "fast"]),
        (("head: cosine", "head: cosin"), ["cosin", "cosine"]),
        (("train: [msmt]", "train: [msmd]"), ["msmd", "msmt"]),
        (("train: [msmt]", "train: []"), ["at least one set in train"]),
        (("label: QAConv", "label: mine"), ["'mine' stands at two rows"]),
        (("published:", "published: table9\nnotes:"), ["unknown key 'notes'"]),
        (("title:", "- "), ["rates.yaml"]),
        (("width: [32, 64]", f"width: {[*range(1, 5000)]}"), ["10,004 rows", "--yes"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["status", "run"])
def test_what_is_wrong_is_said_in_one_sentence(bench, study, tmp_path, change, words, command):
    study.write_text(STUDY.replace(*change))
    found = bench(command, "--study", study, "--results", tmp_path / "results", "--data-dir", tmp_path)
    assert found.code == 2 and found.err.count("\n") == 1, found.err
    assert all(word in found.err for word in words), found.err
    assert not (tmp_path / "results").exists()


def test_ten_thousand_rows_are_taken_where_they_are_meant(bench, study, tmp_path):
    study.write_text(STUDY.replace("width: [32, 64]", f"width: {[*range(1, 600)]}"))
    words = ["status", "--study", study, "--variants", "mine", "--results", tmp_path / "results"]
    assert bench(*words).code == 2
    assert bench(*words, "--yes").code == 0


def test_a_name_of_the_suite_is_refused_and_so_is_a_file_that_is_not_there(bench, study, tmp_path):
    taken = study.rename(tmp_path / "table2.yaml")
    assert "my_table2.yaml" in bench("list", "studies", taken).err
    assert "cannot be read" in bench("report", "--study", study, "--results", tmp_path).err


def test_the_example_of_the_page_is_a_study(bench, tmp_path):
    page = (ROOT / "docs" / "own.md").read_text()
    (tmp_path / "my_study.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    found = bench("list", "studies", tmp_path / "my_study.yaml")
    assert found.code == 0 and "6 runs: 3 rows x 1 training set x 2 seeds" in found.out, found.err
