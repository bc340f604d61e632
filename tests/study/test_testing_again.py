"""What is said of runs without ranked lists, and the command that it names."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from made_up_runs import both, cells, run

from bench.cli import make_parser
from bench.commands.common import read_selection
from bench.study.definition import load_preset, load_study
from bench.study.plan import answers, plan
from bench.study.testing_again import command_for_lists, lists_lacking


def chosen(command: str):
    """The cells and the arguments that a command stands for."""
    program, *words = shlex.split(command)
    assert program == "bench"
    arguments = make_parser().parse_args(words)
    return read_selection(arguments).cells, arguments


@pytest.mark.parametrize(
    ("study", "label", "preset", "overrides"),
    [
        ("table2", "TransMatcher", None, {}),
        ("table2", "cosine", "demo", {"training": {"epochs": 2}, "evaluation": {"memory_gib": 0.5}}),
        ("table1", None, "tiny", {}),
    ],
)
def test_the_command_chooses_the_run_and_nothing_else(tmp_path, study, label, preset, overrides):
    select = [label] if label else ["all"]
    cell = plan(load_study(study), load_preset(preset), overrides, select, ["msmt"], [3])[-1]
    record = run(tmp_path, cell, both((0.5, 0.5), (0.5, 0.5)), preset=preset, overrides=overrides)
    found, arguments = chosen(command_for_lists(record, ["cuhk03", "market"], tmp_path, Path("my data")))
    assert [answers(record, one) for one in found] == [True]
    assert arguments.lists and arguments.test is None and str(arguments.data_dir) == "my data"


def test_a_run_without_lists_is_named_with_the_command(tmp_path):
    record = run(tmp_path, cells("TransMatcher")[0], both((0.5, 0.5), (0.5, 0.5)))
    [told] = lists_lacking([record], tmp_path, tests=["market"])
    assert told.startswith(
        "TransMatcher-msmt-0 has no ranked lists of market; to test it again, without training: bench run --variants "
        "TransMatcher --train msmt --seeds 0, --test market "
    )
    assert told.endswith(f"--results {tmp_path} --lists") and "\n" not in told
    assert lists_lacking([record], tmp_path, tests=["viper"]) == []


def test_why_there_are_none_is_told(tmp_path):
    results = both((0.5, 0.5), (0.5, 0.5), lists_refused="the checkpoint is gone")
    [told] = lists_lacking([run(tmp_path, cells("TransMatcher")[0], results)], tmp_path)
    assert "has no ranked lists of cuhk03, market (the checkpoint is gone); to test it again" in told


def test_a_run_that_no_study_asks_for_any_more_is_to_be_made_anew(tmp_path):
    record = run(tmp_path, cells("TransMatcher")[0], both((0.5, 0.5), (0.5, 0.5)), numerics={"head": 0})
    [told] = lists_lacking([record], tmp_path)
    assert "has no row 'TransMatcher' that is this run; move its folder away" in told
