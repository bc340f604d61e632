"""Scores of a chunk under way: what is new is added to a file, and what was added comes back."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from cut_at import CutAt

from bench.config import Evaluation
from bench.errors import CellFailed
from bench.system.signals import Interrupted
from bench.testing.evaluator import evaluate
from bench.testing.score_log import PartialChunk, ScoreLog

QUERIES, GALLERY, COLUMNS = 117, 822, 64
"""A hundredth of MSMT17's queries and gallery images; the gallery passes in batches."""


def chunk(start: int = 0, grid: str = "grid", ways: int = 0) -> PartialChunk:
    shape = (QUERIES, ways, GALLERY) if ways else (QUERIES, GALLERY)
    return PartialChunk(start, torch.full(shape, -1.0), grid)


def score(found: PartialChunk, left: int) -> None:
    """A batch of the gallery is done."""
    block = found.scores[:, left : left + COLUMNS]
    block.copy_(torch.randn(block.shape))
    found.add(block, to_save=True)


@pytest.fixture
def log(tmp_path) -> ScoreLog:
    return ScoreLog(tmp_path / "partial.scores", "key")


def test_each_score_is_written_once_however_often_it_is_saved(log, tmp_path):
    under_way, whole = chunk(), tmp_path / "whole"
    again = 0
    for left in range(0, GALLERY, COLUMNS):
        score(under_way, left)
        log.save(under_way)
        np.savez(whole, scores=under_way.scores.numpy())
        again += (tmp_path / "whole.npz").stat().st_size
    size = log.path.stat().st_size
    assert 4 * QUERIES * GALLERY < size < 4.1 * QUERIES * GALLERY
    assert again > 12 * size  # what storing the whole each time comes to


def test_what_was_saved_comes_back_to_its_place(log):
    under_way, resumed = chunk(ways=2), chunk(ways=2)
    for block in (under_way.scores[:5, 0, 3:9], under_way.scores[7:9, 1, :40].T):
        block.copy_(torch.randn(block.shape))
        under_way.add(block, to_save=True)
    log.save(under_way)
    log.fill(resumed)
    assert resumed.pairs == 5 * 6 + 2 * 40 and torch.equal(resumed.scores, under_way.scores)


def test_a_chunk_goes_on_after_it_came_back(log):
    under_way, resumed, last = chunk(), chunk(), chunk()
    score(under_way, 0)
    log.save(under_way)
    log.fill(resumed)
    score(resumed, COLUMNS)
    log.save(resumed)
    log.fill(last)
    assert last.pairs == 2 * QUERIES * COLUMNS and torch.equal(last.scores, resumed.scores)


@pytest.mark.parametrize("other", [chunk(start=1), chunk(grid="another"), chunk(ways=2)])
def test_another_chunk_finds_nothing_and_takes_the_place(log, other):
    under_way = chunk()
    score(under_way, 0)
    log.save(under_way)
    log.fill(other)
    assert other.pairs == 0 and bool((other.scores == -1).all())
    log.save(other)
    log.fill(under_way := chunk())
    assert under_way.pairs == 0


def test_another_network_finds_nothing(log):
    under_way, resumed = chunk(), chunk()
    score(under_way, 0)
    log.save(under_way)
    ScoreLog(log.path, "another").fill(resumed)
    assert resumed.pairs == 0


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_what_is_behind_a_damage_is_scored_again(log, damage):
    under_way, resumed = chunk(), chunk()
    for left in (0, COLUMNS):
        score(under_way, left)
        log.save(under_way)
    size = log.path.stat().st_size
    if damage == "cut":
        os.truncate(log.path, size - 1)
    else:
        with log.path.open("r+b") as file:
            file.seek(size - 1)
            file.write(b"\xff")
    log.fill(resumed)
    assert resumed.pairs == QUERIES * COLUMNS
    score(resumed, COLUMNS)
    log.save(resumed)
    log.fill(last := chunk())
    assert last.pairs == 2 * QUERIES * COLUMNS and torch.equal(last.scores, resumed.scores)


def test_a_file_of_something_else_is_nothing(log):
    log.path.write_bytes(b"\xff" * 100)
    log.fill(resumed := chunk())
    assert resumed.pairs == 0
    log.save(resumed)
    assert log.path.stat().st_size > 0


def test_a_full_disk_is_told(tmp_path):
    with pytest.raises(CellFailed, match=r"cannot save .*nowhere.scores: "):
        ScoreLog(tmp_path / "nowhere" / "nowhere.scores", "key").save(chunk())


def test_a_half_done_test_of_an_earlier_version_is_done_anew(pooling_model, small_dataset, tmp_path):
    """It kept the scores of the chunk under way among the ranks."""
    dataset, images = small_dataset
    model, settings = pooling_model(), Evaluation(memory_gib=12 / 2**20, batch=5)
    whole = evaluate(model, dataset, images, settings)
    counting = CutAt(3)
    with pytest.raises(Interrupted):
        evaluate(model, dataset, images, settings, folder=tmp_path, pulse=counting)
    (partial,) = tmp_path.glob("partial-*.npz")
    with np.load(partial) as arrays:
        older = dict(arrays) | {"start": 0, "pairs": 5, "scores": np.zeros((6, 42), np.float32)}
    np.savez(partial, **older)
    partial.with_suffix(".scores").unlink(missing_ok=True)
    found = evaluate(model, dataset, images, settings, folder=tmp_path)
    assert found.average_precision == whole.average_precision and list(tmp_path.iterdir()) == []
