"""The weights that a run starts from: found before it, part of its id, checked when it starts, and in its record."""

from __future__ import annotations

import hashlib

import pytest
import torch

from bench.config import parse_overrides
from bench.errors import UserError
from bench.network.backbone import build_backbone
from bench.network.matcher import Matcher
from bench.study.definition import load_preset, load_study
from bench.study.plan import plan, resolve


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(build_backbone("resnet18", "b").stages.state_dict(), path)
    return path


def cell(weights):
    overrides = parse_overrides([f"backbone.weights={weights}"])
    return plan(load_study("table2"), load_preset("tiny"), overrides, ["cosine"], seeds=[0])[0]


def test_a_folder_and_a_file_that_cannot_be_read_are_told_apart(tmp_path):
    with pytest.raises(UserError, match=rf"backbone.weights: {tmp_path} is a folder; give a path, imagenet"):
        cell(tmp_path)
    with pytest.raises(UserError, match=r"backbone.weights: cannot read /proc/self/mem \(Input/output error\)"):
        cell("/proc/self/mem")


def test_the_planned_file_must_be_the_one_that_is_read(weights):
    planned = cell(weights)
    config = resolve(planned.config, "cpu")
    model = Matcher(config, "cosine", weights)
    assert config.backbone.weights == f"sha256:{model.backbone.weights_sha256}"
    torch.save(build_backbone("resnet18", "b").stages.state_dict(), weights)
    with pytest.raises(UserError, match=r"weights.pth has changed since the run was planned"):
        Matcher(config, "cosine", weights)


def test_what_is_no_file_of_weights_is_found_before_the_first_run(bench, tiny_data, tmp_path):
    places = ("--data-dir", tiny_data, "--results", tmp_path / "results")
    command = ("run", "--variants", "cosine", "--train", "msmt", "--preset", "tiny", "--set")
    found = bench(*command, "backbone.weights=/etc/passwd", *places)
    assert found.code == 2 and "/etc/passwd: it is a text file, not weights" in found.err
    assert "delete" not in found.err and not list((tmp_path / "results").glob("runs/*/*"))


@pytest.mark.slow
def test_the_record_says_which_file_it_was(bench, tiny_data, tmp_path, weights):
    from bench.journal.record import read_records

    results = tmp_path / "results"
    changes = ("--set", "backbone.arch=mobilenet_v2", "--set", f"backbone.weights={weights}")
    torch.save(build_backbone("mobilenet_v2").stages.state_dict(), weights)
    found = bench(
        *("run", "--variants", "cosine", "--train", "msmt", "--preset", "tiny", "--seeds", "1", "--test", "market"),
        *changes,
        *("--data-dir", tiny_data, "--results", results),
    )
    assert found.code == 0, found.err
    (record,) = read_records(results)
    assert (record.config.backbone.arch, record.config.backbone.cut) == ("mobilenet_v2", "features.13")
    assert record.provenance.weights_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
