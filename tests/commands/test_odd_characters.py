"""No command dies over a character: of a path that is no text, or for a stream that has few."""

from __future__ import annotations

import io
import os
import sys

import pytest
from made_up_runs import both, cells, run

from bench.cli import main
from bench.journal.heartbeat import Heartbeat, read_heartbeat, write_heartbeat
from bench.journal.record import Failure
from bench.running.cell import ERROR_LOG
from bench.running.jobs import Job, read_job, write_job

ODD = os.fsdecode(b"r\xff\xc3\xa9 \x1b[31m\n")
"""A folder's name with a byte that is no text, a letter beyond ASCII, a terminal's command and a line's end."""


@pytest.fixture
def results(tmp_path):
    """Runs below a folder of an odd name, one failed with a reason that names it."""
    results = tmp_path / ODD
    for label in ("ViT", "cosine"):
        run(results, cells(label)[0], both((0.3, 0.2), (0.7, 0.4)))
    failure = Failure(phase="data", reason=f"{results}/cache: ± gone")
    failed = run(results, cells("TransMatcher")[0], [], status="failed", failure=failure)
    (results / "runs" / failed.cell / ERROR_LOG).write_bytes(b"Traceback \xff\n")
    return results


@pytest.fixture(params=["utf-8", "ascii"])
def call(request, monkeypatch):
    """`bench`, with its output on streams of an encoding that take nothing else, as PYTHONIOENCODING makes them."""

    def call(*arguments):
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=request.param, errors="strict") for _ in range(2)]
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", streams[0])
            patch.setattr(sys, "stderr", streams[1])
            code = main([str(argument) for argument in arguments])
            for stream in streams:
                stream.flush()
        out, err = (stream.buffer.getvalue().decode(request.param) for stream in streams)
        assert "Traceback (most" not in err
        return code, out

    return call


def test_every_command_writes_escapes(call, results, tmp_path):
    select = ("--variants", "TransMatcher,ViT", "--seeds", "1", "--results", results, "--data-dir", results / "data")
    code, out = call("status", *select)
    assert code == 0 and "\\udcff" in out and "failed: TransMatcher-msmt-0" in out
    code, out = call("logs", "TransMatcher", "--results", results)
    assert code == 0 and "\\udcff" in out and "Traceback" in out
    assert call("cancel", *select)[0] == 0
    assert call("run", "--dry-run", *select)[0] == 0
    assert call("run", *select)[0] == 2  # there are no data
    assert call("data", "check", "--data-dir", results / "data")[0] in (0, 2)
    assert call("list")[0] == 0
    code, out = call("report", "--study", "table2", "--results", results, "--format", "text")
    assert code == 0 and "3 runs in" in out and "\x1b" not in out.partition("\n")[0]


def test_the_page_is_utf8_with_escapes(call, results):
    assert call("report", "--results", results, "--format", "markdown")[0] == 0
    head = (results / "report" / "report.md").read_bytes().decode("utf-8").splitlines()[2]
    assert "\\\\udcff" in head and "é" in head and "\\\\x1b" in head


def test_what_a_run_leaves_can_name_any_path(tmp_path):
    said = Heartbeat(state="failed", updated=1.0, host="h", pid=1, reason=f"{ODD} is gone")
    write_heartbeat(tmp_path, said)
    assert read_heartbeat(tmp_path).reason == "r\\udcffé \x1b[31m\n is gone"
    write_job(tmp_path, Job(cluster="local", name="b", folder=ODD, submitted=1.0))
    assert read_job(tmp_path).cluster == "local"
