"""`bench plan`: what a study will take, in one table, before anything runs."""

from __future__ import annotations

import pytest
import torch

from bench.commands import plan as command
from bench.perf.tiles import Tiles
from bench.report.forecast import _span

TILES = Tiles(
    batch=8, timed=8, step=0.5, image=0.01, pair=1e-5, ranked={24: 1e-3, 27: 1e-3, 5332: 0.1, 15913: 0.1},
    training_bytes=2**30, testing_bytes=2**29, host_bytes=2**30, state_bytes=2**20, momentum_bytes=2**20,
    bytes_per_image=64, pair_bytes=8,
)  # fmt: skip


@pytest.fixture
def played(monkeypatch):
    """Rows whose tiles were asked for; nothing is measured."""
    asked = []

    def measure(row, galleries, seconds, device):
        asked.append((row.row, seconds))
        return TILES

    monkeypatch.setattr("bench.perf.tiles.measure_tiles", measure)
    return asked


def cells_of(text: str, row: str) -> list[str]:
    return next(line for line in text.splitlines() if line.startswith(row)).split()


def test_each_row_is_measured_once_within_a_minute_in_all(played, bench, tmp_path):
    found = bench("plan", "--study", "table2", "--results", tmp_path, "--data-dir", tmp_path, "--device", "cpu")
    assert found.code == 0, found.err
    assert len(played) == 9 and sum(seconds for _, seconds in played) <= command.SECONDS_IN_ALL
    assert "counts published of the set" in found.out and "trained on msmt" in found.out
    assert cells_of(found.out, "cosine")[3] == "4" and cells_of(found.out, "all")[1] == "36"
    assert not list(tmp_path.iterdir())


def test_seeds_and_training_sets_share_what_is_measured(played, bench, tmp_path):
    words = ("--study", "table1", "--variants", "QAConv-GS", "--train", "msmt,msmt_all", "--seeds", "2")
    found = bench("plan", *words, "--results", tmp_path, "--data-dir", tmp_path, "--device", "cpu")
    assert found.code == 0 and [row for row, _ in played] == ["QAConv-GS"]
    assert played[0][1] == command.SECONDS_OF_A_ROW


@pytest.mark.slow
def test_a_finished_run_is_left_out(played, bench, finished, tiny_data):
    words = ("--preset", "tiny", "--variants", "cosine", "--data-dir", tiny_data, "--device", "cpu")
    found = bench("plan", *words, "--seeds", "2", "--results", finished)
    assert found.code == 0, found.err
    assert cells_of(found.out, "cosine")[2] == "1" and "counts" not in found.out


def test_a_row_that_cannot_be_measured_is_told_with_its_reason(bench, monkeypatch, tmp_path):
    monkeypatch.setattr("bench.perf.tiles.measure_tiles", lambda *_: Tiles(note="does not fit in memory"))
    found = bench("plan", "--variants", "cosine", "--results", tmp_path, "--data-dir", tmp_path, "--device", "cpu")
    assert found.code == 1 and "does not fit in memory" in found.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--device", "cuda:7"], "--device cuda:7"),
        (["--variants", "cosin"], "cosine"),
        (["--test", "randperson"], "training only"),
        (["--train", "msmt_all", "--test", "msmt"], "test persons"),
        (["--set", "training.epoch=3"], "did you mean"),
        (["--set", "evaluation.memory_gib=0.000001"], "memory budget"),
    ],
)
def test_wrong_use_is_one_sentence(played, bench, tmp_path, words, told):
    if "cuda" in words[-1] and torch.cuda.device_count() > 7:
        pytest.skip("that GPU is there")
    given = [] if "--device" in words else ["--device", "cpu"]
    found = bench("plan", "--variants", "cosine", "--data-dir", tmp_path, *given, *words)
    assert found.code == 2 and told in found.err and found.err.count("\n") == 1


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.5, "500 ms"), (90.0, "90 s"), (600.0, "10 min"), (9000.0, "2.5 h"), (72e4, "200 h")]
)
def test_long_times_are_in_minutes_and_hours(seconds, said):
    assert _span(seconds) == said
