"""A head's name is a row's label and a part of folders' names: what cannot be that is refused when it is read."""

from __future__ import annotations

import os

import pytest

from variants import HeadError, describe

SOURCE = "from variants import vit\nclass Mine(vit.ViT):\n    '''Mine.'''\n"


def named(folder, name: bytes):
    path = folder / os.fsdecode(name + b".py")
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize("name", [b"a\nb", b"a\x1b[31m", b"\xff", b"a\tb", "a\u202eb".encode(), b".hidden"])
def test_a_name_that_cannot_be_shown_is_refused(name, tmp_path):
    with pytest.raises(HeadError, match="cannot name a head"):
        describe(str(named(tmp_path, name)))


@pytest.mark.parametrize("name", [b"n" * 245, "ü".encode() * 60])
def test_a_name_that_no_folder_can_bear_is_refused(name, tmp_path):
    with pytest.raises(HeadError, match=r"takes \d+ bytes"):
        describe(str(named(tmp_path, name)))


@pytest.mark.parametrize("name", [b"$x$", b"a b", b"[a]", b"=cmd", "学习".encode(), b"n" * 100])
def test_any_other_is_taken(name, tmp_path):
    assert describe(str(named(tmp_path, name))).name == os.fsdecode(name)


def test_it_is_refused_before_anything_runs(bench, tmp_path):
    found = bench("status", "--variants", named(tmp_path, b"a\nb"), "--results", tmp_path)
    assert found.code == 2 and found.err.count("\n") == 1
