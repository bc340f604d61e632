"""What is written can be read back as it is, or it is not written."""

from __future__ import annotations

import json

import made_up_runs
import pytest
from pydantic import ValidationError

from bench.errors import CellFailed
from bench.journal.heartbeat import Place
from bench.journal.record import RECORD, read_record, write_record


@pytest.fixture
def record(tmp_path):
    cell = made_up_runs.cells("TransMatcher")[0]
    return made_up_runs.run(tmp_path, cell, made_up_runs.both((0.3, 0.2), (0.7, 0.4)), "made-up")


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_no_measurement_is_inf_or_nan(value, record):
    with pytest.raises(ValidationError, match="finite"):
        made_up_runs.measured("market", 0.5, value)
    with pytest.raises(ValidationError, match="finite"):
        made_up_runs.measured("market", 0.5, 0.5, average_precision=[0.5, value])
    with pytest.raises(ValidationError, match="finite"):
        Place.model_validate({"done": value})


def test_a_record_that_json_cannot_hold_is_refused_and_the_old_one_stays(record, tmp_path):
    folder = tmp_path / "runs" / "made-up"
    before = (folder / RECORD).read_bytes()
    for change in ({"overrides": {"training": {"clip": float("inf")}}}, {"seconds": {"training": float("nan")}}):
        with pytest.raises(CellFailed, match="was not written"):
            write_record(folder, record.model_copy(update=change))
    assert (folder / RECORD).read_bytes() == before and read_record(folder) == record


def test_a_record_from_before_steps_were_skipped_is_read(record, tmp_path):
    path = tmp_path / "runs" / "made-up" / RECORD
    values = json.loads(path.read_text())
    del values["skipped_steps"]
    path.write_text(json.dumps(values))
    assert read_record(path.parent).skipped_steps == 0
