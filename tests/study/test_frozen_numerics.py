"""What changes the numbers of frozen batch norms alone is in the ids of runs that freeze them, and in no other's."""

from __future__ import annotations

import pytest

from bench.config import parse_overrides
from bench.study.definition import load_preset, load_study
from bench.study.plan import Cell, cell_id, plan, resolve


def planned(preset: str | None, *changes: str) -> Cell:
    return plan(load_study("table2"), load_preset(preset), parse_overrides(changes), ["TransMatcher"], seeds=[0])[0]


def identity(cell: Cell) -> str:
    return cell_id(resolve(cell.config, "cpu"), cell.numerics, "f" * 64)


def test_only_runs_that_freeze_their_norms_name_its_version():
    assert "frozen" in planned(None).numerics
    assert "frozen" in planned("demo").numerics
    assert "frozen" not in planned(None, "backbone.batchnorm=train").numerics


@pytest.mark.parametrize(("batchnorm", "follows"), [("frozen", True), ("train", False)])
def test_a_new_version_is_another_run_where_norms_are_frozen(monkeypatch, batchnorm, follows):
    change = f"backbone.batchnorm={batchnorm}"
    before = identity(planned(None, change))
    monkeypatch.setattr("bench.study.numerics.FROZEN_NUMERICS", 99)
    assert (identity(planned(None, change)) != before) == follows
