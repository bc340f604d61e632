"""What the README says is true: its commands run, its links and names exist."""

from __future__ import annotations

import re
import shlex

import pytest
from places import ROOT

from bench.cli import make_parser

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return [re.sub(r"(?m)^   ", "", code) for code in re.findall(rf"(?s)```{language}\n(.*?)```", README)]


COMMANDS = [line.strip() for block in blocks("sh") for line in block.splitlines() if line.strip()]
OWN_HEAD = next(block for block in blocks("python") if "class MyHead" in block)


def test_the_readme_begins_with_the_two_commands():
    assert COMMANDS[:2] == ["make demo", "make test"]


def test_the_make_targets_exist_and_ci_calls_them():
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"(?m)^demo:", makefile) and re.search(r"(?m)^test:", makefile)
    ci = (ROOT / ".ci" / "run").read_text()
    assert ci.index("make test") < ci.index("make demo")
    assert "bench" in makefile and "run --variants all --train msmt --preset demo" in makefile


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.startswith("make ")])
def test_every_command_parses(command):
    words = shlex.split(command)
    assert words[0] == "bench"
    make_parser().parse_args(words[1:])


@pytest.mark.slow
def test_the_commands_run_on_tiny_data(bench, tiny_data, tmp_path, monkeypatch):
    """In the README's order, with the size of the data and of the networks turned down to tiny."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_DATA", str(tiny_data))
    (tmp_path / "my_head.py").write_text(OWN_HEAD)
    ran = []
    for command in dict.fromkeys(COMMANDS):
        words = shlex.split(command.replace("--preset demo", "--preset tiny"))
        if words[0] == "make" or words[1] == "weights" or "--cluster" in words:
            continue  # a cluster has tests of its own
        if words[1] == "drill":
            words = ["bench", "drill", "--kills", "4"]
        if words[1] in ("run", "status", "cancel") and "--preset" not in words:
            words += ["--preset", "tiny", "--seeds", "1"]
        if words[1] == "perf":
            words += shlex.split(
                "--only matching --variants operator,cosine --batch 4 --tokens 8 --width 16 --repeats 1"
            )
        found = bench(*words[1:])
        assert found.code == 0, f"{command}: {found.out}{found.err}"
        ran.append(words[1])
    assert {"run", "report", "status", "data", "check-head"} <= set(ran)
    assert "my_head" in found.out  # the last report shows the reader's own head
    assert list((tmp_path / "results" / "report").glob("*-accuracy.png"))
    assert list((tmp_path / "results" / "report").glob("*-tradeoff.png"))


def test_every_path_named_exists():
    made_by_use = {
        "results/report/",
        "results/runs/",
        "runs/",
        "report/",
        "data/",
        "my_head.py",
        "record.json",
        ".venv",
    }
    for name in re.findall(r"`([\w./_-]+(?:/|\.py|\.yaml))`", README):
        if name in made_by_use or name.startswith(("Market", "cuhk03", "MSMT", "randperson", ".venv")):
            continue
        assert any((folder / name).exists() for folder in (ROOT, ROOT / "results")), name


def test_every_data_set_is_named():
    from bench.data import NAMES

    assert all(f"`{name}`" in README for name in NAMES)
