"""What the README and the pages beside it say is true: their commands run, their links and names exist."""

from __future__ import annotations

import re
import shlex
from importlib.metadata import version

import pytest
import yaml
from PIL import Image
from places import ROOT

from bench.cli import make_parser

README = (ROOT / "README.md").read_text()
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md")


def blocks(language: str, text: str) -> list[str]:
    return [re.sub(r"(?m)^   ", "", code) for code in re.findall(rf"(?s)```{language}\n(.*?)```", text)]


def commands(text: str) -> list[str]:
    return [line.strip() for block in blocks("sh", text) for line in block.splitlines() if line.strip()]


COMMANDS = list(dict.fromkeys(command for page in PAGES for command in commands(page.read_text())))
OWN_HEAD = next(block for block in blocks("python", README) if "class MyHead" in block)


def test_the_readme_begins_with_the_two_commands():
    assert commands(README)[:2] == ["make demo", "make test"]


def test_the_make_targets_exist_and_ci_calls_them():
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"(?m)^demo:", makefile) and re.search(r"(?m)^test:", makefile)
    ci = (ROOT / ".ci" / "run").read_text()
    assert ci.index("make test") < ci.index("make demo")
    assert "bench" in makefile and "run --variants all --train msmt --preset demo" in makefile


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_parses(command):
    words = shlex.split(command)
    if words[0] == "make":
        assert re.search(rf"(?m)^{words[1]}:", (ROOT / "Makefile").read_text())
    elif words[0] == "bench":
        make_parser().parse_args(words[1:])
    else:
        assert command == "source .venv/bin/activate"


@pytest.mark.slow
def test_the_commands_run_on_tiny_data(bench, tiny_data, tmp_path, monkeypatch):
    """In the order of the pages, with the size of the data and of the networks turned down to tiny."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_DATA", str(tiny_data))
    (tmp_path / "my_head.py").write_text(OWN_HEAD)
    for name in ("a.jpg", "b.jpg", "gallery/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (16, 32), (200, 30, 60)).save(tmp_path / name)
    ran = []
    for command in COMMANDS:
        words = shlex.split(command.replace("--preset demo", "--preset tiny").replace("--seeds 4", "--seeds 1"))
        if words[0] != "bench" or words[1] in ("weights", "eval") or "--cluster" in words:
            continue  # files from elsewhere and clusters have tests of their own
        if words[1] == "drill":
            words = ["bench", "drill", "--kills", "4"]
        if words[1] in ("run", "plan", "status", "cancel") and "--preset" not in words:
            words += ["--preset", "tiny", "--seeds", "1"]
        if words[1:3] in (["data", "splits"], ["data", "export"]):
            words += ["--data-dir", str(tiny_data / "standin-tiny")]
        if words[1] == "perf":
            serving = "--gallery 20 --preset tiny --variants cosine"
            matching = "--only matching --variants operator,cosine --batch 4 --tokens 8 --width 16"
            rows = "--preset tiny --variants cosine --queries 4 --gallery 20"
            kind = serving if "serving" in words else rows if "step,test" in words else matching
            words += shlex.split(f"{kind} --repeats 1")
        found = bench(*words[1:])
        assert found.code == 0, f"{command}: {found.out}{found.err}"
        ran.append(words[1])
    assert {"run", "report", "status", "data", "check-head", "match", "search"} <= set(ran)
    assert "my_head" in bench("report").out  # the reader's own head has its row
    assert list((tmp_path / "results" / "report").glob("*-accuracy.png"))
    assert list((tmp_path / "results" / "report").glob("*-tradeoff.png"))


SETS = ("Market", "cuhk", "MSMT", "randperson", "VIPeR", "prid_2011", "underground_reid", "i-LIDS")
"""How the folders of data sets begin."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_named_exists(page):
    made_by_use = {
        "results/report/",
        "results/runs/",
        "runs/",
        "report/",
        "data/",
        "my_head.py",
        ".venv/bin/bench",
        "sets.yaml",
        "my_study.yaml",
    }
    text = page.read_text()
    for name in re.findall(r"`([\w./_-]+(?:/|\.py|\.yaml))`", text):
        if name in made_by_use or name.startswith(SETS):
            continue
        assert any((folder / name).exists() for folder in (ROOT, ROOT / "bench", ROOT / "results")), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_the_project_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target


def test_the_citation_names_this_version_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == version("pairbench")
    assert citation["references"][0]["title"].startswith("TransMatcher")


def test_every_data_set_is_named():
    from bench.data import NAMES

    assert all(f"`{name}`" in README for name in NAMES)
