"""The start of presets without ImageNet weights: made once, the same bits for the same version, known by its hash."""

from __future__ import annotations

import threading

import pytest
import torch

from bench import starts
from bench.config import parse_overrides
from bench.errors import UserError
from bench.network import common_start
from bench.network.backbone import build_backbone
from bench.network.common_start import learn, start_file, start_path
from bench.network.matcher import Matcher, weights_hash
from bench.progress import QUIET, Progress
from bench.starts import STARTS, Start, named
from bench.study.definition import load_preset, load_study
from bench.study.plan import cell_id, plan, resolve
from bench.system.locks import alone

BACKBONE = ("resnet18", "b")
SMALL = Start(height=16, width=16, kinds=3, steps=2, batch=4, lr=0.05)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A cache of its own, and a start of two steps in it under the name of the tiny one."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setitem(STARTS, "standin_tiny", SMALL)
    return "standin_tiny"


def cell(preset="tiny", *changes):
    """A run of a preset that begins from its start, but for the changes."""
    weights = {"tiny": "standin_tiny", "demo": "standin"}[preset]
    changes = (f"backbone.weights={weights}", "backbone.batchnorm=frozen", *changes)
    return plan(load_study("table2"), load_preset(preset), parse_overrides(changes), ["cosine"], seeds=[0])[0]


def test_the_same_start_learns_the_same_bits():
    assert weights_hash(learn(SMALL, *BACKBONE, QUIET)) == weights_hash(learn(SMALL, *BACKBONE, QUIET))


@pytest.mark.slow
def test_who_draws_and_how_many_threads_there_are_changes_no_bit():
    alone_at_it = weights_hash(learn(SMALL, *BACKBONE, QUIET))
    torch.set_num_threads(2)
    try:
        assert weights_hash(learn(SMALL, *BACKBONE, QUIET, workers=2)) == alone_at_it
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_it_learns():
    state, drawn = learn(SMALL, *BACKBONE, QUIET), build_backbone("resnet18", "b").stages.state_dict()
    assert state.keys() == drawn.keys()
    assert all(not torch.equal(state[key], drawn[key]) for key in state if key.endswith(("weight", "running_mean")))


def test_it_is_made_once_with_a_line_and_kept_under_its_hash(small, capfd):
    made = start_file(small, *BACKBONE)
    assert named(small).replace(":", "-") in made.path.name and made.path == start_path(named(small), *BACKBONE)
    told = capfd.readouterr().err
    assert told.count("\n") == 1 and "teaching resnet18 drawn things" in told
    assert start_file(named(small), *BACKBONE).content == made.content and capfd.readouterr().err == ""


@pytest.mark.parametrize("harm", ["cut short", "no hash"])
def test_a_damaged_one_is_made_again_with_one_line(small, harm, capfd):
    made = start_file(small, *BACKBONE)
    if harm == "cut short":
        made.path.write_bytes(made.content[:-100])
    else:
        common_start.noted_sha256(made.path).unlink()
    capfd.readouterr()
    assert start_file(small, *BACKBONE).content == made.content
    told = capfd.readouterr().err
    assert told.count("\n") == 1 and f"{made.path} is damaged" in told


def test_one_of_another_version_is_made_again_with_one_line(small, monkeypatch, capfd):
    before = start_file(small, *BACKBONE).path
    old = named(small)
    monkeypatch.setattr(starts, "VERSION", starts.VERSION + 1)
    capfd.readouterr()
    assert start_file(small, *BACKBONE).path != before
    told = capfd.readouterr().err
    assert told.count("\n") == 1 and f"{before} is of another version" in told
    with pytest.raises(UserError, match=f"{old} is a start of another version of the suite"):
        start_file(old, *BACKBONE)


def test_whoever_comes_second_waits_and_makes_nothing(small, monkeypatch, capfd):
    path = start_path(named(small), *BACKBONE)
    path.parent.mkdir(parents=True)
    made = start_file(small, *BACKBONE)
    moved = path.rename(path.with_suffix(".moved"))
    monkeypatch.setattr(common_start, "learn", lambda *_: pytest.fail("made twice"))
    found = []
    with alone(path.with_name(path.name + ".lock"), lambda: None):
        second = threading.Thread(target=lambda: found.append(start_file(small, *BACKBONE)))
        second.start()
        second.join(0.1)
        assert not found
        moved.rename(path)
    second.join(10)
    assert found[0].content == made.content and "is made by another process: waits" in capfd.readouterr().err


def test_a_cache_that_cannot_be_written_is_named(small, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot keep the backbone's start in .*; set TORCH_HOME"):
        start_file(small, *BACKBONE, Progress(silent=True))


@pytest.mark.parametrize(
    "changes",
    [("backbone.arch=resnet34",), ("backbone.arch=resnet101",), ("backbone.ibn=a",), ("backbone.cut=layer4",)],
)
def test_another_backbone_is_told_what_is_covered(changes):
    with pytest.raises(UserError, match=r"covers resnet18 with IBN b up to layer3, .*; not resnet"):
        cell("demo", *changes)


@pytest.mark.parametrize("arch", ["resnet50", "mobilenet_v2"])
def test_the_backbones_of_all_studies_are_covered(arch):
    assert cell("demo", f"backbone.arch={arch}").config.backbone.weights == named("standin")


def test_a_run_is_known_by_the_hash_of_its_start(monkeypatch):
    config = cell("demo").config
    assert config.backbone.weights == named("standin") and config.backbone.batchnorm == "frozen"
    before = cell_id(config, {}, "f")
    monkeypatch.setattr(starts, "VERSION", starts.VERSION + 1)
    assert cell_id(cell("demo").config, {}, "f") != before


def test_nothing_to_start_from_stays_possible():
    assert cell("demo", "backbone.weights=null", "backbone.batchnorm=train").config.backbone.weights is None


def test_a_network_begins_with_its_start(small):
    config = resolve(cell().config, "cpu", "fp32")
    model, made = Matcher(config, "cosine", config.backbone.weights), torch.load(start_file(small, *BACKBONE).path)
    assert all(torch.equal(value, made[key]) for key, value in model.backbone.stages.state_dict().items())
    assert model.backbone.weights_sha256 == start_file(small, *BACKBONE).sha256


def test_the_command_makes_it_and_says_where(small, bench):
    found = bench("weights", "standin", "--start", small)
    assert found.code == 0 and found.out.strip() == str(start_path(named(small), *BACKBONE))
    assert "--set backbone.weights=standin_tiny" in found.err
