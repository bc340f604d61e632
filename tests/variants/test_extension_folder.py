"""Where the compiled operator is kept: where torch's or the desktop's variables say, or in the home folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from variants.kernels import native


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("TORCH_EXTENSIONS_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, ".cache/torch_extensions"),
        ({"TORCH_EXTENSIONS_DIR": "~/x"}, "x"),
        ({"XDG_CACHE_HOME": "~/x"}, "x/torch_extensions"),
        ({"TORCH_EXTENSIONS_DIR": "~/x", "XDG_CACHE_HOME": "~/y"}, "x"),
        ({"TORCH_EXTENSIONS_DIR": "", "XDG_CACHE_HOME": ""}, ".cache/torch_extensions"),
    ],
)
def test_tildes_are_the_home_folder_and_nothing_counts_as_unset(home, monkeypatch, variables, place):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert native._cache() == home / place


def unknown(path: str) -> str:
    """What `expanduser` gives where neither HOME nor the system tells of a home folder."""
    return path


def cannot_be_written(path: Path, mode: int) -> bool:
    return False


@pytest.mark.parametrize(
    "without", [("os.path.expanduser", unknown), ("variants.kernels.native.os.access", cannot_be_written)]
)
def test_without_a_home_that_can_be_written_it_is_in_a_folder_of_ones_own(home, monkeypatch, without):
    monkeypatch.setattr("tempfile.tempdir", str(home))
    monkeypatch.setattr(*without)
    folder = native._cache()
    assert folder.parent == home and folder.stat().st_mode & 0o777 == 0o700
    assert native._cache() == folder


@pytest.mark.parametrize("make", [lambda path: path.mkdir(mode=0o777), lambda path: path.symlink_to("elsewhere")])
def test_a_folder_of_that_name_that_others_could_write_to_is_not_taken(home, monkeypatch, make):
    monkeypatch.setattr("tempfile.tempdir", str(home))
    monkeypatch.setattr("os.path.expanduser", unknown)
    own = home / f"pairbench-{os.getuid()}"
    before = os.umask(0)
    try:
        make(own)
    finally:
        os.umask(before)
    with pytest.raises(OSError, match=r"is not this user's own|File exists"):
        native._cache()
