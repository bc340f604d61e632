"""Output that cannot be written ends nothing, is told in the end, and is no success; closed streams are none at all."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

from bench.system.streams import lost_output, tolerant_streams


class Broken(io.StringIO):
    """A stream that the system does not take."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Held(io.StringIO):
    """A stream that takes text and fails to pass it on."""

    def flush(self) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


@pytest.mark.parametrize(("stream", "reason"), [(Broken, "No space left on device"), (Held, "Broken pipe")])
def test_what_cannot_be_written_is_noted_and_raises_nothing(stream, reason, monkeypatch):
    monkeypatch.setattr(sys, "stdout", stream())
    with tolerant_streams():
        assert lost_output() == {} if stream is Broken else True
        print("one", flush=True)
        sys.stdout.writelines(["two", "three"])
        assert lost_output() == {"standard output": reason}
        print("four", file=sys.stderr)


def test_streams_that_work_are_as_they_were_afterwards(capsys):
    before = sys.stdout, sys.stderr
    with tolerant_streams():
        print("told")
        assert sys.stdout.isatty() is False and lost_output() == {}
    assert (sys.stdout, sys.stderr) == before and capsys.readouterr().out == "told\n"


def test_letters_that_the_encoding_lacks_and_bytes_that_are_no_text_are_escaped(monkeypatch):
    beneath = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(beneath, encoding="ascii"))
    with tolerant_streams():
        print("é \udcff")
    sys.stdout.flush()
    assert beneath.getvalue() == rb"\xe9 \udcff" + b"\n"


def shell(redirections: str, *command: str) -> subprocess.CompletedProcess:
    line = f'"$@" {redirections}'
    return subprocess.run(
        ["bash", "-c", line, "bash", sys.executable, *command], capture_output=True, text=True, cwd=ROOT
    )


@pytest.mark.parametrize(
    ("redirections", "code", "out", "err"),
    [
        ("| head -c 0; exit ${PIPESTATUS[0]}", 1, "", "standard output could not be written: Broken pipe"),
        (">/dev/full", 1, "", "standard output could not be written: No space left on device"),
        (">/dev/full 2>&1", 1, "", ""),
        (">&-", 0, "", ""),
        ("2>&-", 0, "vit", ""),
        ("<&- >&- 2>&-", 0, "", ""),
    ],
)
def test_a_command_in_a_shell(redirections, code, out, err):
    done = shell(redirections, "-m", "bench", "list", "heads")
    assert done.returncode == code and out in done.stdout
    assert [line for line in done.stderr.splitlines() if line] == ([f"bench: {err}"] if err else [])


def test_a_fault_of_the_error_stream_is_told_on_the_other_one():
    done = shell("2>/dev/full", "-m", "bench", "status", "--preset", "nonsense")
    assert done.returncode == 2 and "standard error could not be written: No space left on device" in done.stdout


def test_a_file_that_is_opened_where_a_stream_was_closed_is_not_written_to(tmp_path):
    script = """
import os, sys
from pathlib import Path
from bench.system.streams import tolerant_streams
with tolerant_streams():
    with Path(sys.argv[1]).open("w") as file:
        os.write(1, b"from a library"), os.write(2, b"from another process")
        file.write("a record")
"""
    shell("<&- >&- 2>&-", "-c", script, str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "a record"


def test_watching_ends_when_nobody_reads(bench, tmp_path, monkeypatch):
    from bench.commands import status
    from bench.running.ledger import CellState, Ledger

    monkeypatch.setattr(Ledger, "state_of", lambda self, cell: CellState("queued"))
    monkeypatch.setattr(status.time, "sleep", lambda seconds: pytest.fail("still watching"))
    monkeypatch.setattr(sys, "stdout", Held())
    assert bench("status", "--preset", "tiny", "--watch", "--results", tmp_path).code == 1


CHATTY = """
import sys
from variants import vit
class Chatty(vit.ViT):
    'Says much, as people who look for a fault have it.'
    def match(self, query, gallery):
        print('here', flush=True)
        print('here', file=sys.stderr, flush=True)
        return super().match(query, gallery)
"""


@pytest.mark.slow
def test_runs_go_on_to_their_end_when_nobody_reads(tiny_data, tmp_path):
    head = tmp_path / "chatty.py"
    head.write_text(CHATTY)
    select = ["--variants", str(head), "--preset", "tiny", "--test", "market", "--data-dir", str(tiny_data)]
    nobody = "2>/dev/full | head -c 0; exit ${PIPESTATUS[0]}"
    done = shell(nobody, "-m", "bench", "run", *select, "--results", str(tmp_path))
    assert done.returncode == 1 and done.stdout == done.stderr == ""
    records = [path.read_text() for path in Path(tmp_path).glob("runs/*/record.json")]
    assert len(records) == 1 and '"status": "done"' in records[0]
