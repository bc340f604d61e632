"""What the page on stand-in data says is what the kept study measured."""

from __future__ import annotations

import pytest
from kept_study import TRAINS, claims, lines_of, parts, table
from places import ROOT

KEPT = ROOT / "results" / "standin"
PAGE = (ROOT / "docs" / "standins.md").read_text(encoding="utf-8")
ROWS = 9


@pytest.mark.parametrize("train", TRAINS)
def test_the_kept_study_has_all_rows_with_four_seeds_each(train):
    measured = [
        line for line in lines_of(KEPT, train, "accuracy") if line["quantity"] == "mAcc" and line["kind"] == "study"
    ]
    assert len(measured) == ROWS and {line["seeds"] for line in measured} == {"4"}
    assert all(line["standin"] and line["preset"] == "demo" for line in measured)
    learned = lines_of(KEPT, train, "epochs")
    assert len({(line["method"], line["seed"]) for line in learned}) == ROWS * 4


@pytest.mark.parametrize("train", TRAINS)
def test_its_commits_are_named_and_are_without_other_changes(train):
    commits = {line["commit"] for line in lines_of(KEPT, train, "accuracy") if line["seeds"] == "4"}
    assert len(commits) == 1 and "+changes" not in commits.pop()


def test_the_page_states_each_claim_as_it_was_measured():
    assert table(KEPT) in PAGE


def test_the_page_shows_the_parts_of_transmatcher_as_they_were_measured():
    assert parts(KEPT) in PAGE


@pytest.mark.parametrize("claim", claims(KEPT), ids=lambda claim: f"{claim.train}, {claim.text}")
def test_what_does_not_hold_is_explained(claim):
    assert claim.holds or "## What does not hold, and why" in PAGE


def test_the_report_says_where_the_backbone_began():
    assert "backbone: stand-in pretraining" in (KEPT / "report.md").read_text(encoding="utf-8")
