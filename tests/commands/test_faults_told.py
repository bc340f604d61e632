"""What is no fault of the code is told in one sentence; a bug keeps its traceback."""

from __future__ import annotations

import errno
import os
import signal

import pytest

from bench import cli
from bench.commands import list as listing
from bench.errors import CellFailed, UserError
from bench.system.signals import Interrupted


@pytest.fixture
def told(bench, monkeypatch):
    """What `bench list` does if something is raised in it."""

    def call(fault: BaseException):
        def run(arguments):
            raise fault

        monkeypatch.setattr(listing, "run", run)
        return bench("list")

    return call


@pytest.mark.parametrize(
    ("fault", "code", "sentence"),
    [
        (UserError("say it otherwise"), 2, "say it otherwise"),
        (CellFailed("it diverged"), 1, "it diverged"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a/b"), 2, "a/b: No such file or directory"),
        (PermissionError(errno.EACCES, "Permission denied", b"a/b"), 2, "a/b: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device", "a"), 1, "a: No space left on device"),
        (OSError(errno.EIO, "Input/output error"), 1, "Input/output error"),
        (OSError("the pipe is gone"), 1, "the pipe is gone"),
        (OSError(), 1, "OSError"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), 1, "Connection refused"),
        (OverflowError("int too large to convert"), 2, "a number is too large (int too large to convert)"),
        (UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range(128)"), 2, "text cannot be read or written"),
    ],
)
def test_faults_of_use_and_machine_are_one_sentence(fault, code, sentence, told):
    found = told(fault)
    assert found.code == code and found.out == ""
    assert found.err.startswith(f"bench list: {sentence}") and found.err.count("\n") == 1


def test_a_bug_is_raised(told):
    with pytest.raises(ZeroDivisionError):
        told(ZeroDivisionError())


def test_what_goes_wrong_before_there_is_a_command_is_told_too(bench, monkeypatch):
    def make_parser():
        raise UserError("~x: no such home folder")

    monkeypatch.setattr(cli, "make_parser", make_parser)
    found = bench("list")
    assert found.code == 2 and found.err == "bench: ~x: no such home folder\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_is_a_sentence_and_its_number(number, told):
    found = told(Interrupted(number.name))
    assert found.code == 128 + number
    assert found.err == f"ended by {number.name}; the same command goes on where it was\n"


def test_signals_between_its_end_and_that_of_the_process_change_nothing(bench, monkeypatch):
    def run(arguments):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(listing, "run", run)
    assert bench("list").code == 128 + signal.SIGTERM
    monkeypatch.setattr(listing, "run", lambda arguments: 0)
    assert bench("list").code == 0
