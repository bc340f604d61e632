"""Wherever a path comes in, `~` is the home folder: what the shell leaves as it is written, bench does not."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch

from bench.cli import make_parser
from bench.commands.common import head_word, head_words, read_selection
from bench.data import load_dataset
from bench.data.check import check
from bench.errors import UserError
from bench.system.paths import expand

CHOICE = ("--preset", "tiny", "--variants", "cosine", "--seeds", "1")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of one's own, while the present folder is another one, which stays empty."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    for name in ("BENCH_DATA", "BENCH_RESULTS"):
        monkeypatch.delenv(name, raising=False)
    yield home
    assert list(here.iterdir()) == []


def parsed(*arguments: str):
    return make_parser().parse_args(arguments)


ARGUMENTS = {
    "run --data-dir": (("run", "--data-dir=~/x"), "data_dir"),
    "run --results": (("run", "--results=~/x"), "results"),
    "run --resources": (("run", "--resources=~/x"), "resources"),
    "status --data-dir": (("status", "--data-dir=~/x"), "data_dir"),
    "status --results": (("status", "--results=~/x"), "results"),
    "cancel --results": (("cancel", "--results=~/x"), "results"),
    "logs --results": (("logs", "run", "--results=~/x"), "results"),
    "report --results": (("report", "--results=~/x"), "results"),
    "report --out": (("report", "--out=~/x"), "out"),
    "perf --results": (("perf", "--results=~/x"), "results"),
    "check --data-dir": (("data", "check", "--data-dir=~/x"), "data_dir"),
    "standin --data-dir": (("data", "standin", "--size", "tiny", "--data-dir=~/x"), "data_dir"),
    "convert FILE": (("weights", "convert", "~/x", "--out", "y"), "file"),
    "convert --out": (("weights", "convert", "y", "--out=~/x"), "out"),
}


@pytest.mark.parametrize(("arguments", "name"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_every_argument_that_is_a_path_is_expanded(home, arguments, name):
    assert getattr(parsed(*arguments), name) == home / "x"


def test_no_argument_takes_a_path_without_expanding_it():
    """A new one that says `type=Path` is caught here."""
    waiting = [make_parser()]
    while waiting:
        for action in waiting.pop()._actions:
            assert action.type is not Path, action.option_strings
            if isinstance(action, argparse._SubParsersAction):
                waiting += action.choices.values()


@pytest.mark.parametrize(("variable", "name"), [("BENCH_DATA", "data_dir"), ("BENCH_RESULTS", "results")])
def test_the_variables_are_expanded_alike_and_nothing_in_them_counts_as_unset(home, monkeypatch, variable, name):
    monkeypatch.setenv(variable, "~/x")
    assert getattr(parsed("run"), name) == home / "x"
    monkeypatch.setenv(variable, "")
    assert getattr(parsed("run"), name) == Path(name.removesuffix("_dir"))


def test_paths_of_weights_and_of_head_files_are_expanded(home):
    torch.save({}, home / "weights.pth")
    (home / "mine.py").write_text((Path(__file__).parents[2] / "variants" / "cosine.py").read_text())
    chosen = parsed("run", *CHOICE, "--set", "backbone.weights=~/weights.pth", "--variants=cosine,~/mine.py")
    cells = read_selection(chosen).cells
    assert {cell.weights_file for cell in cells} == {home / "weights.pth"}
    assert [cell.head_path for cell in cells] == ["cosine", str(home / "mine.py")]
    assert head_word("~/mine.py") == str(home / "mine.py")
    assert head_words("ViT, ~/mine.py,~/other") == ["ViT", str(home / "mine.py"), "~/other"]


@pytest.mark.slow
def test_commands_work_in_a_home_folder_and_nowhere_else(bench, home, tiny_data):
    (home / "data").symlink_to(tiny_data)
    places = ("--data-dir=~/data", "--results=~/results")
    for command in (
        ("data", "check", "market", "--data-dir=~/data/standin-tiny"),
        ("data", "standin", "--size", "tiny", "--sets", "market", "--data-dir=~/drawn"),
        ("run", *CHOICE, *places, "--dry-run"),
        ("status", *CHOICE, *places),
    ):
        outcome = bench(*command)
        assert outcome.code == 0, (command, outcome.err)
    assert {path.name for path in home.iterdir()} == {"data", "drawn"}


def test_the_library_takes_text_as_it_was_written_and_paths_as_they_are(home, tiny_data):
    (home / "data").symlink_to(tiny_data)
    (home / "sets").symlink_to(tiny_data / "standin-tiny")
    assert load_dataset("market", "~/sets").root.is_relative_to(home)
    assert check(["market"], "~/data").sets[0].root.is_relative_to(home)
    with pytest.raises(UserError, match="absent"):
        load_dataset("market", Path("~/sets"))
    assert expand("./~") == Path("~") and expand(Path("~/x")) == Path("~/x")


@pytest.mark.parametrize("text", ["~nobody-of-this-name/x", "", "  "])
def test_what_cannot_be_expanded_is_refused_in_a_sentence(bench, home, monkeypatch, text):
    for outcome in (bench("status", f"--results={text}"), bench("run", f"--data-dir={text}", "--dry-run")):
        assert outcome.code == 2 and "Traceback" not in outcome.err
        assert "is not known; write it out" in outcome.err or "an empty path" in outcome.err
    if text.strip():
        for command in (("status", "--set", f"backbone.weights={text}"), ("status", f"--variants={text}.py")):
            outcome = bench(*command)
            assert outcome.code == 2 and "is not known; write it out" in outcome.err
        monkeypatch.setenv("BENCH_RESULTS", text)
        assert bench("status").code == 2 and bench("list").code == 0


def test_a_home_that_is_not_known_is_said(home, monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(UserError, match=r"~/x: the home folder that ~ stands for is not known; write it out"):
        expand("~/x")
