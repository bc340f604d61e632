"""Heads that installed packages offer: found without importing them, and what is wrong with one harms no other."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from variants import HeadError, build, describe, names, unusable
from variants._laws import SHAPE

SOUND = "from variants import vit\nclass Mine(vit.ViT):\n    'Mine.'\n"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package with entry points and files where Python finds installed ones."""
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    before = set(sys.modules)

    def put(package: str, points: dict[str, str], files: dict[str, str | bytes]) -> Path:
        info = site / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {value}\n" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[pairbench.variants]\n{lines}")
        for name, content in files.items():
            path = site / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        importlib.invalidate_caches()
        return site

    yield put
    for name in set(sys.modules) - before:
        if name.split(".")[0].startswith("plug_"):
            del sys.modules[name]


def test_a_sound_one_is_found_described_and_built(install):
    install("sound", {"mine": "plug_sound"}, {"plug_sound.py": SOUND})
    assert "mine" in names() and unusable() == {}
    assert describe("mine").options == describe("vit").options
    assert type(build("mine", SHAPE, layers=1)).__module__ == "plug_sound"


BROKEN = {
    "missing module": ("plug_nowhere", {}, "its module 'plug_nowhere' is not there"),
    "missing submodule": ("plug_a.b.c", {"plug_a/__init__.py": ""}, "its module 'plug_a.b.c' is not there"),
    "no module": ("", {}, "its module '' is not there"),
    "no name of a module": ("???:x", {}, "its module '???' is not there"),
    "syntax error": ("plug_bad", {"plug_bad.py": "class A(:\n"}, "line 1: not valid Python"),
    "binary": ("plug_bad", {"plug_bad.py": b"x = 1\n\n\n\xff"}, "not Python text"),
    "no head": ("plug_bad", {"plug_bad.py": "x = 1\n"}, "exactly one public class"),
    "compiled": ("plug_bad", {"plug_bad.abi3.so": b"\x7fELF"}, "not valid Python"),
    "namespace": ("plug_space", {"plug_space/part.py": SOUND}, "is not there"),
    "numerics": ("plug_bad", {"plug_bad.py": "class A:\n    numerics = 'x'\n"}, "`numerics` must be"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_one_is_named_and_the_others_stay(install, kind):
    value, files, reason = BROKEN[kind]
    install("broken", {"bad": value}, files)
    install("sound", {"good": "plug_sound"}, {"plug_sound.py": SOUND})
    assert "good" in names() and "vit" in names() and "bad" not in names()
    assert list(unusable()) == ["bad"] and reason in unusable()["bad"]
    with pytest.raises(HeadError, match="head 'bad', offered by broken: "):
        describe("bad")


@pytest.mark.parametrize("source", ["import sys\nsys.exit(0)\n", "raise SystemError('x')\n", "import plug_absent\n"])
def test_one_that_cannot_be_imported_harms_nobody_until_it_is_asked_for(install, source):
    install("late", {"late": "plug_late.heads"}, {"plug_late/__init__.py": source, "plug_late/heads.py": SOUND})
    assert "late" in names() and "plug_late" not in sys.modules
    with pytest.raises(HeadError, match="cannot be imported"):
        build("late", SHAPE)


def test_two_of_one_name_are_refused_and_both_packages_named(install):
    install("one", {"twin": "plug_one"}, {"plug_one.py": SOUND})
    install("two", {"twin": "plug_two"}, {"plug_two.py": SOUND})
    assert "twin" not in names()
    assert "offered by one and two: several packages offer one of that name" in unusable()["twin"]


@pytest.mark.parametrize("name", ["cosine", "Cosine", "two words", "$x$", "x" * 65])
def test_a_name_that_a_file_could_not_have_is_refused(install, name):
    install("named", {name: "plug_named"}, {"plug_named.py": SOUND})
    assert list(unusable()) == [name] and "its name" in unusable()[name]
    assert describe("cosine").digest == ""


PACKAGE = {"plug_whole/__init__.py": "", "plug_whole/heads.py": f"from .size import N\n{SOUND}"}


def test_a_change_anywhere_in_its_package_is_another_head(install):
    site = install("whole", {"whole": "plug_whole.heads:Mine"}, {**PACKAGE, "plug_whole/size.py": "N = 1\n"})
    before = describe("whole").digest
    assert build("whole", SHAPE, layers=1) is not None
    (site / "plug_whole" / "size.py").write_text("N = 2\n")
    assert describe("whole").digest not in ("", before)


def test_what_an_editable_package_imports_from_another_is_refused(install, tmp_path, monkeypatch):
    """Files that lie in no folder of installed packages, as those of a package under development."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.syspath_prepend(work)
    (work / "plug_edit.py").write_text(f"import plug_other\n{SOUND}")
    (work / "plug_other.py").write_text("x = 1\n")
    install("edit", {"edit": "plug_edit"}, {})
    assert "imports plug_other from" in unusable()["edit"]
