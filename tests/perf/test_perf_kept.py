"""Half an hour of measuring is not lost over the place where it is kept, nor over what comes in the way of the rest."""

from __future__ import annotations

import pytest

from bench.perf import records, run
from bench.perf.records import Comparison, Timing, read_perf

FOUND = Comparison(
    subject="operator",
    task="scoring",
    dtype="float32",
    size="2 x 3",
    units=6,
    unit="pair",
    flop=12,
    timings=[Timing(form="ours", seconds=[1.0]), Timing(form="plain", seconds=[2.0])],
)
PERF = ("perf", "--variants", "operator", "--device", "cpu", "--results")


@pytest.fixture
def measured(monkeypatch):
    """What measuring gives, and what comes in its way."""

    def play(fault: BaseException | None = None) -> None:
        def measure(plan, progress):
            yield FOUND
            if fault is not None:
                raise fault

        monkeypatch.setattr(run, "measure", measure)

    play()
    return play


def shown(text: str) -> bool:
    return "scoring" in text and "2 x 3" in text


def test_it_is_shown_and_kept(measured, bench, tmp_path):
    found = bench(*PERF, tmp_path)
    assert found.code == 0 and shown(found.out)
    [record] = read_perf(tmp_path)
    assert record.comparisons == [FOUND]


def test_a_place_that_cannot_be_written_is_found_before_anything_is_measured(measured, bench, tmp_path):
    measured(AssertionError("measured"))
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "results"):
        found = bench(*PERF, place)
        assert found.code == 2 and "cannot write to the results folder" in found.err and found.out == ""


def test_the_table_is_shown_if_it_cannot_be_kept_in_the_end(measured, bench, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(records, "write_perf", full)
    found = bench(*PERF, tmp_path)
    assert found.code == 1 and shown(found.out)
    assert "the tables above could not be stored" in found.err and "No space left on device" in found.err


def test_what_was_measured_is_shown_if_the_rest_fails(measured, bench, tmp_path, capfd):
    measured(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        bench(*PERF, tmp_path)
    assert shown(capfd.readouterr().out) and not list(read_perf(tmp_path))
