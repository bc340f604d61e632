"""Pictures need no backend, heed nobody's settings, and cost no tables when they fail."""

from __future__ import annotations

import os
import subprocess
import sys

import matplotlib
import pytest
from made_up_runs import board_of, both, cells, run
from places import ROOT

from bench.report import figures
from bench.report.write import write_report

NOTEBOOK = """
import sys
from pathlib import Path
from bench.report.write import write_report
report = write_report(Path(sys.argv[1]), Path(sys.argv[2]), ["table2"])
assert not report.undrawn, report.undrawn
assert "matplotlib.pyplot" not in sys.modules
print(*sorted(path.name for path in report.files))
"""


@pytest.fixture
def two_rows(tmp_path):
    for label in ("ViT", "cosine"):
        run(tmp_path, cells(label)[0], both((0.3, 0.2), (0.7, 0.4)))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["module://nonexistent", "nonsense"])
def test_no_backend_is_needed(backend, two_rows):
    environment = {**os.environ, "MPLBACKEND": backend, "PYTHONPATH": str(ROOT)}
    environment.pop("DISPLAY", None)
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK, two_rows, two_rows / "out"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert {name.rpartition(".")[2] for name in done.stdout.split()} == {"md", "tex", "csv", "png", "pdf"}


@pytest.mark.slow
def test_a_notebooks_settings_change_no_picture_and_stay(two_rows):
    before = figures.draw(board_of(two_rows))
    assert len(before) == 4 and all(content.startswith((b"\x89PNG", b"%PDF")) for content in before.values())
    with matplotlib.rc_context({"font.size": 30, "text.usetex": True, "axes.grid": True, "savefig.dpi": 5}):
        assert figures.draw(board_of(two_rows)) == before
        assert matplotlib.rcParams["font.size"] == 30 and matplotlib.rcParams["text.usetex"]


def test_pictures_that_fail_cost_no_table(two_rows, monkeypatch, bench):
    def fail(*_):
        raise RuntimeError("no\nfont")

    monkeypatch.setattr(figures, "draw", fail)
    report = write_report(two_rows, two_rows / "out", ["table2"])
    assert {path.suffix for path in report.files} == {".md", ".tex", ".csv"} and all(p.exists() for p in report.files)
    assert report.undrawn == ("the pictures of table2-paper could not be drawn (RuntimeError: no font)",)
    assert report.undrawn[0] in report.text and "could not be drawn" in (two_rows / "out" / "report.md").read_text()
    found = bench("report", "--results", two_rows, "--study", "table2")
    assert found.code == 1 and "45.00" not in found.err and "could not be drawn" in found.out
