"""A row's tiles: whole steps where time allows, else a step projected from few images."""

from __future__ import annotations

import pytest
import torch

from bench.perf import tiles
from bench.perf.rows import StudyRow
from bench.perf.tiles import measure_tiles

CPU = torch.device("cpu")


@pytest.fixture
def row(tiny_config):
    """A row of table 2 with a batch of 32 images."""
    config = tiny_config(training={"persons": 8, "images": 4})
    return StudyRow("table2", "tiny", "TransMatcher", "transmatcher", config, threads=1)


def test_sizes_are_doubled_while_time_lasts():
    made = []

    def make(size):
        return lambda: made.append(size)

    assert [*tiles._grown(make, 3, 20, 2, 10.0, CPU)] == [3, 6, 12, 20] and made == [3, 3, 6, 12, 20]
    assert [*tiles._grown(make, 3, 20, 2, 0.0, CPU)] == [3]
    made.clear()
    assert [*tiles._grown(make, 3, 20, 2, 10.0, CPU, begun=True)] == made == [3, 6, 12, 20]


def test_matching_grows_with_pairs_the_optimiser_with_nothing_and_the_rest_with_images():
    matching = {4: 0.2, 8: 0.5}
    found = tiles.projected_step(step=1.5, optimiser=0.3, matching=matching, timed=4, batch=32)
    assert found == pytest.approx(32 * (1.5 - 0.3 - 0.2) / 4 + 16 * 0.5 + 0.3)
    assert tiles.projected_step(0.1, 0.3, {4: 0.2}, 4, 4) == pytest.approx(0.2 + 0.3)


@pytest.mark.slow
def test_whole_steps_are_timed_where_there_is_time_and_memory_is_counted_for_what_is_left_out(row):
    whole, projected = (measure_tiles(row, [50], seconds, "cpu") for seconds in (20.0, 0.0))
    assert whole.note == projected.note == ""
    assert (whole.timed, projected.timed, whole.batch, projected.batch) == (32, 4, 32, 32)
    assert whole.step > 0 and projected.step > 0
    assert projected.training_bytes == pytest.approx(whole.training_bytes, rel=0.3)
    assert whole.pair > 0 and whole.image > 0 and whole.ranked[50] > 0
    assert whole.bytes_per_image > 0 and whole.testing_bytes < whole.host_bytes < 2**31


def test_what_fails_leaves_its_reason(row, monkeypatch):
    def fail(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(tiles, "in_fresh_process", fail)
    assert measure_tiles(row, [5], 1.0, "cpu").note == "does not fit in memory"
