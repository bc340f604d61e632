"""Small files are read as they were written, or refused with their name and advice, whatever lies in their place."""

from __future__ import annotations

import json
import os

import pytest
from damaged import DAMAGES, REFUSALS, refuse
from hypothesis import given
from hypothesis import strategies as st
from made_up_runs import both, cells, run

from bench.journal.reading import Unreadable, as_json, listed, read_json, told
from bench.journal.record import RECORD, Failure, read_record, read_records


@pytest.fixture
def record_file(tmp_path):
    record = run(tmp_path, cells("ViT")[0], both((0.3, 0.2), (0.7, 0.4)))
    return tmp_path / "runs" / record.cell / RECORD


def test_what_was_written_is_read(record_file):
    record = read_record(record_file.parent)
    assert as_json(record, indent=1) == record_file.read_bytes() == record.model_dump_json(indent=1).encode()


def test_what_is_not_there_is_nothing(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path, tmp_path / "absent", tmp_path / "file"):
        assert read_record(folder) is None
        assert listed(folder / "runs") == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_record_is_named_with_what_to_do(damage, record_file):
    spoil, words = DAMAGES[damage]
    spoil(record_file)
    with pytest.raises(Unreadable) as refused:
        read_record(record_file.parent)
    message = str(refused.value)
    assert message.startswith(f"{record_file} ") and words in message and "move its folder away" in message
    assert refused.value.path == record_file


@pytest.mark.parametrize("number", REFUSALS)
def test_what_the_system_refuses_is_named_too(number, record_file, monkeypatch):
    refuse(record_file, number, monkeypatch)
    with pytest.raises(Unreadable, match=os.strerror(number)) as refused:
        read_record(record_file.parent)
    assert REFUSALS[number] in str(refused.value)


@pytest.mark.parametrize(
    "place",
    [("config", "evaluation", "memory_gib"), ("config", "training", "clip"), ("tests", 0, "mAP"), ("peak_bytes",)],
    ids=str,
)
@pytest.mark.parametrize("value", [float("inf"), float("nan"), -1e30, 10**400], ids=["inf", "nan", "-1e30", "1e400"])
def test_numbers_that_no_run_can_have_are_named(place, value, record_file):
    values = json.loads(record_file.read_text())
    inner = values
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    record_file.write_text(json.dumps(values))
    with pytest.raises(Unreadable) as refused:
        read_record(record_file.parent)
    assert ".".join(map(str, place)) in str(refused.value)


def test_the_others_are_read_and_all_bad_ones_told(tmp_path):
    names = [run(tmp_path, cell, both((0.3, 0.2), (0.7, 0.4))).cell for cell in cells("ViT")]
    for name in names[1:3]:
        (tmp_path / "runs" / name / RECORD).write_text("{")
    bad = []
    assert [record.cell for record in read_records(tmp_path, bad)] == [names[0], names[3]]
    heading, *lines = told(bad)
    assert heading == "2 files were passed over:"
    assert all(name in line for name, line in zip(names[1:3], lines, strict=True))
    with pytest.raises(Unreadable, match=names[1]):
        list(read_records(tmp_path))
    assert told([]) == []


@given(st.text(st.characters(codec=None), max_size=20))
def test_any_text_is_written_and_what_is_none_as_escapes(text):
    written = as_json(Failure(phase="start", reason=text))
    read = Failure.model_validate_json(written)
    assert read.reason == text.encode("utf-8", "backslashreplace").decode()


def test_a_models_other_values_survive_escapes(tmp_path):
    failure = Failure(phase="start", reason="\udcff")
    record = run(tmp_path, cells("ViT")[0], [], status="failed", failure=failure, overrides={"a\udcfe": ["\udcff", 1]})
    again = read_json(tmp_path / "runs" / record.cell / RECORD, type(record), "")
    assert again.failure.reason == "\\udcff" and again.overrides == {"a\\udcfe": ["\\udcff", 1]}
    assert again.config == record.config and again.provenance == record.provenance
