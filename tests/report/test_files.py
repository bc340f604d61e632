"""A report's files appear whole, in place of links and never through them, and may be read by whom the umask lets."""

from __future__ import annotations

import os
import stat

import pytest
from made_up_runs import both, cells, run

from bench.errors import UserError
from bench.report.write import write_report


@pytest.fixture
def two_rows(tmp_path):
    for label in ("ViT", "cosine"):
        run(tmp_path, cells(label)[0], both((0.3, 0.2), (0.7, 0.4)))
    return tmp_path


@pytest.mark.slow
def test_no_file_is_written_through_a_link(two_rows):
    first = write_report(two_rows, two_rows / "out", ["table2"])
    assert {path.suffix for path in first.files} == {".md", ".tex", ".csv", ".png", ".pdf"}
    victims = {}
    for path in first.files:
        victims[path] = two_rows / f"victim-{path.name}"
        victims[path].write_bytes(b"precious")
        path.unlink()
        path.symlink_to(victims[path])
    again = write_report(two_rows, two_rows / "out", ["table2"])
    assert again.files == first.files
    for path in again.files:
        assert victims[path].read_bytes() == b"precious"
        assert path.is_file() and not path.is_symlink()


@pytest.mark.slow
def test_what_cannot_be_written_leaves_the_old_and_no_rest(two_rows, monkeypatch):
    files = write_report(two_rows, two_rows / "out", ["table2"]).files
    before = {path: path.read_bytes() for path in files}

    def full(handle):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match=r"cannot write the report to .* \(No space left on device\)"):
        write_report(two_rows, two_rows / "out", ["table2"])
    assert {path: path.read_bytes() for path in (two_rows / "out").iterdir()} == before


def test_a_folder_in_the_way_is_named(two_rows):
    (two_rows / "out" / "report.md").mkdir(parents=True)
    with pytest.raises(UserError, match="cannot write the report"):
        write_report(two_rows, two_rows / "out", ["table2"], ["markdown"])


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_files_have_the_rights_that_the_umask_leaves(umask, two_rows):
    before = os.umask(umask)
    try:
        files = write_report(two_rows, two_rows / "out", ["table2"], ["markdown", "latex", "csv"]).files
    finally:
        os.umask(before)
    assert files and {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o666 & ~umask}
    assert stat.S_IMODE((two_rows / "out").stat().st_mode) == 0o777 & ~umask


@pytest.mark.slow
def test_an_out_among_the_runs_is_refused_by_way_of_links_too(two_rows):
    (two_rows / "link").symlink_to(two_rows / "runs")
    (two_rows / "loop").symlink_to("loop")
    with pytest.raises(UserError, match="among the runs"):
        write_report(two_rows, two_rows / "link" / "report")
    with pytest.raises(UserError, match="cannot write the report"):
        write_report(two_rows, two_rows / "loop")
