"""`bench drill` kills where it says, and notices what differs."""

from __future__ import annotations

import re

import pytest

from bench.journal.record import Record, read_records
from bench.running.drill import PHASES, compare


@pytest.mark.slow
def test_a_run_that_is_killed_in_every_phase_ends_with_the_same_bits(bench):
    found = bench("drill", "--kills", "8", "--seed", "3")
    assert found.code == 0, found.out + found.err
    assert "weights and ranks of all queries are the same to the bit" in found.out
    for phase in PHASES:
        assert f"2 while {phase}" in found.out
    kills = [line for line in found.out.splitlines() if re.match(r" +\d+  SIG", line)]
    assert len(kills) == 8 and len({line.split("after: ")[1] for line in kills}) == 8  # each after new progress
    assert {line.split()[1] for line in kills} >= {"SIGKILL", "SIGTERM"}


@pytest.mark.slow
def test_the_drill_notices_other_weights_and_ranks(bench, tiny_data, tmp_path):
    command = ("run", "--variants", "ViT", "--preset", "tiny", "--data-dir", tiny_data, "--results", tmp_path)
    assert bench(*command).code == 0
    [record] = read_records(tmp_path)
    assert compare(record, record) == []
    test = record.tests[0]
    moved = test.model_copy(update={"first_rank": [rank + 1 for rank in test.first_rank]})
    other: Record = record.model_copy(update={"weights_hash": "0" * 64, "tests": [moved, *record.tests[1:]]})
    assert compare(record, other) == ["the weights", "first_rank on cuhk03 (trained)"]
    assert (
        compare(record, record.model_copy(update={"tests": record.tests[1:]}))[0] == "query_index on cuhk03 (trained)"
    )


def test_a_row_that_is_not_there_is_told(bench):
    found = bench("drill", "--variants", "nothing")
    assert found.code == 2 and "unknown head or row 'nothing'" in found.err
