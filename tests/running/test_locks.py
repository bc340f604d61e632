"""A results folder whose file system has no locks is refused before anything runs."""

from __future__ import annotations

import errno
import os

import pytest

from bench.errors import UserError
from bench.running.preflight import check_writable


@pytest.fixture(params=[errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL], ids=errno.errorcode.get)
def refusal(request, monkeypatch):
    """No file can be locked; returns the system's words."""

    def refuse(*_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr("fcntl.flock", refuse)
    return os.strerror(request.param)


def test_it_is_named_with_what_to_do(refusal, tmp_path):
    with pytest.raises(UserError, match="cannot be locked") as refused:
        check_writable(tmp_path / "results" / "runs")
    assert refusal in str(refused.value) and str(tmp_path / "results") in str(refused.value)
    assert "--results" in str(refused.value)
    assert list((tmp_path / "results" / "runs").iterdir()) == []


@pytest.mark.parametrize("cluster", [(), ("--cluster", "local"), ("--cluster", "debug")])
def test_nothing_runs(cluster, bench, tmp_path, tiny_data, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    found = bench("run", "--preset", "tiny", "--results", tmp_path, "--data-dir", tiny_data, *cluster)
    assert found.code == 2 and found.err.count("\n") == 1 and "No locks available" in found.err
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_folder_with_locks_is_taken(tmp_path):
    check_writable(tmp_path / "results" / "runs")
    assert (tmp_path / "results" / "runs").is_dir()
