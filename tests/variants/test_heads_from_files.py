"""What is refused when a head's file is read, before anything of it runs: unreadable files, names, imports, types."""

from __future__ import annotations

import os
import sys

import pytest

from variants import HeadError, build, describe, names
from variants._laws import SHAPE

SOUND = "from variants import vit\nclass Mine(vit.ViT):\n    'Mine.'\n"


@pytest.fixture
def refused(tmp_path):
    """Write a head and read it; returns the sentence with which it is refused."""

    def read(source: str | bytes, name: str = "mine.py") -> str:
        path = tmp_path / name
        path.write_bytes(source if isinstance(source, bytes) else source.encode())
        with pytest.raises(HeadError) as refusal:
            describe(str(path))
        assert "\n" not in str(refusal.value)
        return str(refusal.value)

    return read


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x7fELF\x02\x01\x01\x00\xff\xfe", "invalid or missing encoding declaration"),
        (SOUND.encode() + "# é\n".encode("latin-1"), "not Python text: byte 60 is not utf-8"),
        (b"# -*- coding: klingon -*-\n", "unknown encoding: klingon"),
        (b"x = 1\0\n", "null bytes"),
        (b"(" * 100_000, "too many nested"),
        (b"x = " + b"-" * 100_000 + b"1", "not valid Python"),
        (b"class A(:\n", "line 1: not valid Python"),
    ],
    ids=["binary", "latin-1", "encoding", "null", "parentheses", "signs", "syntax"],
)
def test_what_is_no_python_text_is_said_in_a_sentence(refused, content, reason):
    assert reason in refused(content)


def test_another_encoding_that_is_named_is_read(tmp_path):
    path = tmp_path / "mine.py"
    path.write_bytes(("# -*- coding: latin-1 -*-\n" + SOUND.replace("Mine.", "Größe.")).encode("latin-1"))
    assert describe(str(path)).summary == "Größe."


def test_what_is_no_file_is_said_in_a_sentence(tmp_path):
    (tmp_path / "folder.py").mkdir()
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "loop.py").symlink_to(tmp_path / "loop.py")
    for name, reason in {
        "folder.py": "no file, but a folder",
        "pipe.py": "no file, but a device or pipe",
        "loop.py": "no such head file",
        "absent.py": "no such head file",
        f"{'x' * 300}.py": "cannot be read (File name too long)",
    }.items():
        with pytest.raises(HeadError) as refusal:
            describe(str(tmp_path / name))
        assert reason in str(refusal.value)


def test_a_file_that_may_not_be_read_is_said_in_a_sentence(tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    path.write_text(SOUND)

    def denied(*_: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "read_bytes", denied)
    with pytest.raises(HeadError, match=r"mine.py cannot be read \(Permission denied\)"):
        describe(str(path))


@pytest.mark.parametrize(
    "name",
    ["a\nb", "$x$", "=cmd", "x\x1b[31m", "x" * 65, "two words", "größe", "[x", "-x", ".x", "a&b", "x_\u202e"],
)
def test_a_name_that_cannot_stand_in_a_table_or_folder_is_refused(refused, name):
    assert "must be of letters a to z, digits" in refused(SOUND, f"{name}.py")


@pytest.mark.parametrize("name", ["x", "my_head", "My-Head.2", "3d", "x" * 64])
def test_plain_names_are_taken(tmp_path, name):
    path = tmp_path / f"{name}.py"
    path.write_text(SOUND)
    assert describe(str(path)).name == name


@pytest.mark.parametrize("name", ["vit", "ViT", "transformer_cat", "Transformer-Cat"])
def test_the_name_of_a_head_of_the_suite_is_refused(refused, name):
    assert "is that of a head of the suite" in refused(SOUND, f"{name}.py")


def test_a_path_to_a_head_of_the_suite_is_told_to_be_said_by_name():
    with pytest.raises(HeadError, match="for that one say cosine"):
        describe(str(describe("cosine").path))


@pytest.mark.parametrize(
    "statement",
    [
        "from . import helper",
        "from .helper import x",
        "import helper",
        "from helper import x",
        "import helper.part as p",
        "import torch, helper",
        "def late():\n    import helper",
        "try:\n    import helper\nexcept ImportError:\n    pass",
        "import folder.part",
        "__import__('helper')",
        "import importlib\nimportlib.import_module('helper')",
        "from importlib import import_module as bring\nbring('helper')",
        "import importlib.util as u\nu.spec_from_file_location('helper', 'helper.py')",
        "import sys\nsys.path.insert(0, '.')",
        "from sys import path",
        "import runpy\nrunpy.run_path('helper.py')",
        "exec(open('helper.py').read())",
    ],
)
@pytest.mark.parametrize("found", [False, True], ids=["elsewhere", "on the path"])
def test_code_beside_the_file_is_refused_wherever_one_is(refused, tmp_path, monkeypatch, statement, found):
    (tmp_path / "helper.py").write_text("x = 1\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "part.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path if found else "/")
    if found:
        monkeypatch.syspath_prepend(tmp_path)
    message = refused(f"{statement}\n{SOUND}")
    assert "line " in message and "installed package" in message
    assert "helper" not in sys.modules


@pytest.mark.parametrize("statement", ["import math", "import torch.nn", "from torch import nn", "import scipy.stats",
                                       "from variants._layers import PairNorm", "import nowhere_at_all"])  # fmt: skip
def test_installed_packages_are_taken_and_what_is_nowhere_is_left_to_the_import(tmp_path, statement):
    path = tmp_path / "mine.py"
    path.write_text(f"{statement}\n{SOUND}")
    assert describe(str(path)).name == "mine"


@pytest.mark.parametrize("default", ["[1]", "{}", "b'x'", "1j", "1e999", "(1,)", "..."])
def test_an_option_whose_default_no_configuration_can_hold_is_refused(refused, default):
    assert "option 'power' must be" in refused(f"class A:\n    def __init__(self, shape, *, power={default}): ...\n")


@pytest.mark.parametrize("value", ["'2'", "0", "True", "1.5", "[1]", "VERSION", "1 + 1"])
def test_numerics_of_another_type_are_refused(refused, value):
    assert "`numerics` must be a whole number from 1" in refused(f"class A:\n    numerics = {value}\n")


@pytest.mark.parametrize("exit_code", ["0", "3", "'bye'", ""])
def test_a_file_that_ends_python_when_imported_is_refused(tmp_path, exit_code):
    path = tmp_path / "mine.py"
    path.write_text(f"import sys\nsys.exit({exit_code})\n{SOUND}")
    with pytest.raises(HeadError, match="cannot be imported: SystemExit"):
        build(str(path), SHAPE)


def test_what_was_hashed_is_what_runs(tmp_path):
    """Edits within a second that keep the file's size, which Python's own cache of compiled files would not see."""
    path = tmp_path / "mine.py"
    for digit in "123":
        path.write_text(SOUND + f"    kind = {digit}\n")
        os.utime(path, (0, 0))
        assert build(str(path), SHAPE, layers=1).kind == int(digit)
    assert not list(tmp_path.glob("__pycache__"))


def test_a_summary_holds_no_control_characters(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("class Mine:\n    '\\x1b[31mred\\x07'\n")
    assert describe(str(path)).summary == "[31mred"


def test_all_heads_of_the_suite_would_be_taken_from_a_file_under_another_name(tmp_path):
    for name in names():
        source = describe(name).path.read_text()
        (tmp_path / f"my_{name}.py").write_text(source)
        assert describe(str(tmp_path / f"my_{name}.py")).options == describe(name).options
