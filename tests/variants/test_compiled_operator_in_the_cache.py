"""A library in the cache of extensions is loaded if it holds what was built, and built again if it does not."""

from __future__ import annotations

import pytest

from variants.kernels import native


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and a compiler that takes no time: it writes down that it was called."""
    calls = tmp_path / "calls"
    compiler = tmp_path / "c++"
    compiler.write_text(f'#!/bin/sh\necho x >> {calls}\nwhile [ "$1" != -o ]; do shift; done\necho built > "$2"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", str(compiler))
    return lambda: len(calls.read_text().split())


def test_it_is_built_once(cache):
    assert native.build() == native.build() and cache() == 1


@pytest.mark.parametrize("content", [b"", b"buil", b"Built\n"], ids=["empty", "cut", "one bit"])
def test_a_damaged_one_is_built_again(cache, content):
    native.build().write_bytes(content)
    assert native.build().read_text() == "built\n" and cache() == 2
    assert native.build().read_text() == "built\n" and cache() == 2


def test_what_a_killed_build_left_is_no_library_and_does_not_stay(cache):
    path = native.build()
    left = path.with_name(path.name.partition("-")[0] + ".partial")
    path.rename(left)
    assert native.build() == path and not left.exists() and cache() == 2


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [("'", "No closing quotation"), ("/nowhere/c++", "/nowhere/c++ not found"), ("", "CXX is empty"), (None, "file")],
)
def test_what_keeps_it_from_being_used_is_told_in_one_line(cache, monkeypatch, caplog, compiler, reason):
    """None stands for the compiler whose output no machine can load."""
    if compiler is not None:
        monkeypatch.setenv("CXX", compiler)
    monkeypatch.setenv("PAIRBENCH_KERNEL", "")
    native.library.cache_clear()
    try:
        assert native.library() is None
    finally:
        native.library.cache_clear()
    [said] = caplog.messages
    assert said.startswith("matching runs in plain PyTorch, several times slower") and reason in said
    assert "\n" not in said
