"""A test whose memory runs out outside of its blocks is made again with smaller ones, and at last says what to do."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from bench.config import Evaluation
from bench.errors import CellFailed
from bench.journal.pulse import Pulse
from bench.running import cell
from bench.running.cell import MOST_PARTS, _Run
from bench.running.task import CellTask
from bench.testing.device_memory import too_large_a_test
from bench.testing.evaluator import evaluate


@pytest.fixture
def run(tmp_path, tiny_config, monkeypatch) -> _Run:
    """A run about to test."""
    task = CellTask(
        "cosine-msmt-s0-0", "cosine", tiny_config("cosine"), {"head": 1}, "f" * 64, None, "", tmp_path, tmp_path,
        "cosine", (), 1,
    )  # fmt: skip
    monkeypatch.setattr(_Run, "_test_set", lambda self, name: (SimpleNamespace(fingerprint=""), None))
    return _Run(task, None, Pulse())


def running_out(monkeypatch, times: int) -> list[int]:
    """`evaluate` runs out of memory so many times; returns the parts of each call."""
    asked: list[int] = []

    def play(*arguments: object) -> str:
        asked.append(arguments[-1])
        if len(asked) <= times:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return "the result"

    monkeypatch.setattr(cell, "evaluate", play)
    return asked


def test_it_is_made_again_with_blocks_in_more_parts(run, monkeypatch):
    asked = running_out(monkeypatch, 2)
    assert run._test(None, "market", "trained") == "the result" and asked == [1, 2, 4]


def test_it_fails_with_what_to_lower(run, monkeypatch):
    asked = running_out(monkeypatch, 99)
    with pytest.raises(CellFailed, match=r"out of memory in testing, within its budget of .* lower --memory"):
        run._test(None, "market", "trained")
    assert asked[-1] == MOST_PARTS


def test_any_other_fault_stays_what_it_is(run, monkeypatch):
    monkeypatch.setattr(cell, "evaluate", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run._test(None, "market", "trained")


def test_on_a_gpu_what_is_free_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 80 * 2**30))
    told = too_large_a_test(Evaluation(), torch.device("cuda:0"))
    assert "of the GPU's 80.0 GiB 1.0 are free" in told and "evaluation.gpu_memory_gib" in told


def test_smaller_blocks_give_the_same_ranks_and_are_recorded(pooling_model, small_dataset):
    dataset, images = small_dataset
    model = pooling_model()
    whole, found = (evaluate(model, dataset, images, Evaluation(), parts=parts) for parts in (1, 4))
    assert found.first_rank == whole.first_rank and (whole.block_parts, found.block_parts) == (1, 4)
