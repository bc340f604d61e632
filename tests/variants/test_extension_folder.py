"""Where the compiled operator is kept: where torch's or the desktop's variables say, or in the home folder."""

from __future__ import annotations

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


def test_a_home_that_is_not_known_is_said(home, monkeypatch):
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(FileNotFoundError, match="no home folder is known"):
        native._cache()
