"""How a test fits a GPU's memory and the host's, which are budgets of their own."""

from __future__ import annotations

import pytest
import torch

from bench.config import Evaluation
from bench.errors import UserError
from bench.testing import device_memory
from bench.testing.memory_budget import GPU_BLOCK_BYTES, Work, plan_scoring
from bench.testing.projection import TestRates, project_test

GIB = 2**30
MSMT = Work(11_659, 82_161, 3 * 192 * 512 * 2, 9216)
"""MSMT17 as TransMatcher keeps it in 16 bits: 45 GiB of gallery."""
WIDE = Work(11_659, 82_161, 3 * 192 * 512 * 4, 9216)
"""The same in float32: 90 GiB."""


def card(monkeypatch, free: float, total: float, reserved: float = 0.0, allocated: float = 0.0) -> torch.device:
    for name, value in (("memory_reserved", reserved), ("memory_allocated", allocated)):
        monkeypatch.setattr(torch.cuda, name, lambda _device, value=value: int(value * GIB))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (int(free * GIB), int(total * GIB)))
    return torch.device("cuda:1")


@pytest.mark.parametrize(
    ("work", "gpu", "host", "keep", "chunks"),
    [
        (MSMT, 60, 2, "memory", 46),  # all of the gallery in 16 bits
        (WIDE, 60, 4, "nothing", 1),  # all queries instead, and their scores
        (WIDE, 60, 2, "nothing", 4),  # two chunks of scores at a time
        (WIDE, 12, 4, "nothing", 2),  # the queries do not fit a smaller card at once
        (Work(3368, 15_913, 2048, 4), 12, 2, "memory", 14),
    ],
)
def test_images_are_encoded_as_few_times_as_memory_allows(work, gpu, host, keep, chunks):
    plan = plan_scoring(work, host * GIB, free_disk=10**13, gpu=gpu * GIB)
    assert (plan.keep, plan.chunks) == (keep, chunks) and plan.block_bytes == GPU_BLOCK_BYTES
    assert plan.encoded_images == work.queries + work.gallery * (chunks if keep == "nothing" else 1)
    assert plan.disk_bytes == 0 and "of the GPU" in str(plan)


@pytest.mark.parametrize("gpu", [0.1, 1, 7, 12, 60, 140])
@pytest.mark.parametrize("host", [0.01, 0.5, 2, 16])
@pytest.mark.parametrize("work", [MSMT, WIDE, Work(5, 7, 10, 10), Work(300, 900, 10**6, 9216, both_ways=True)])
def test_plans_stay_within_both_budgets(work, gpu, host):
    plan = plan_scoring(work, int(host * GIB), gpu=int(gpu * GIB))
    held = work.gallery if plan.keep == "memory" else 3 * plan.batch
    assert (held + plan.query_chunk) * work.bytes_per_image + plan.block_bytes <= gpu * GIB
    assert plan.buffers * plan.query_chunk * work.bytes_of_scores <= host * GIB
    assert plan.query_chunk >= 1 and plan.batch >= 1 and plan.block_bytes >= 2 * work.pair_bytes


@pytest.mark.parametrize(
    ("gpu", "host", "words"),
    [
        (
            10**6,
            GIB,
            r"GiB of the GPU's memory .* too few: the least that works is 0\.0\d+ GiB \(--set evaluation\.gpu",
        ),
        (GIB, 1000, r"too small for the scores of two queries: the least that works is 0\.0\d+ GiB \(--memory\)"),
    ],
)
def test_what_holds_nothing_is_told_with_the_least_that_works(gpu, host, words):
    with pytest.raises(UserError, match=words):
        plan_scoring(MSMT, host, gpu=gpu)


def test_without_a_gpu_plans_are_as_they_were():
    plan = plan_scoring(WIDE, 2 * GIB, free_disk=10**13)
    assert (plan.keep, plan.query_chunk, plan.batch, plan.block_bytes) == ("disk", 889, 64, GIB // 2)
    assert device_memory.gpu_budget(Evaluation(), torch.device("cpu")) is None


def test_three_quarters_of_what_is_free_in_whole_gib(monkeypatch):
    assert device_memory.gpu_budget(Evaluation(), card(monkeypatch, 78.6, 79.1)) == 58 * GIB
    # What torch keeps of memory that training has freed is there for the test.
    assert device_memory.gpu_budget(Evaluation(), card(monkeypatch, 38.6, 79.1, 41, 1)) == 58 * GIB
    assert device_memory.gpu_budget(Evaluation(), card(monkeypatch, 2, 8)) == 1.5 * GIB


def test_what_is_asked_for_is_held_against_the_card(monkeypatch):
    device = card(monkeypatch, 10, 15.7)
    assert device_memory.gpu_budget(Evaluation(gpu_memory_gib=12), device) == 12 * GIB
    with pytest.raises(UserError, match=r"gpu_memory_gib=100 is more than cuda:1 has \(15\.7 GiB, of which 10\.0 are"):
        device_memory.gpu_budget(Evaluation(gpu_memory_gib=100), device)


def test_a_whole_test_is_projected_from_a_tile():
    rates = TestRates(pair=4e-7, image=2e-4, ranked_query=4e-3, disk_byte=1e-9)
    kept, once, disk = (
        project_test(plan, rates)
        for plan in (
            plan_scoring(MSMT, 2 * GIB, gpu=60 * GIB),
            plan_scoring(WIDE, 4 * GIB, gpu=60 * GIB),
            plan_scoring(WIDE, 2 * GIB, free_disk=10**13),
        )
    )
    pairs, images = 11_659 * 82_161, 11_659 + 82_161
    assert kept.matching == once.matching == pytest.approx(pairs * 4e-7)
    assert kept.encoding == pytest.approx(images * 2e-4) and kept.ranking == pytest.approx(46.636)
    assert kept.total == pytest.approx(kept.encoding + kept.matching + kept.ranking / 46)  # ranked beside matching
    assert once.total == pytest.approx(once.encoding + once.matching + once.ranking)
    assert disk.disk == pytest.approx(15 * 82_161 * 1_179_648e-9) and disk.total > disk.matching + disk.disk


def test_an_asymmetric_head_scores_both_ways_twice():
    plan = plan_scoring(Work(10, 20, 100, 10, both_ways=True), GIB)
    rates = TestRates(pair=1.0, image=0.0, ranked_query=0.0)
    assert [project_test(plan, rates, symmetric).total for symmetric in (True, False)] == [200, 400]


def test_where_ranking_is_slower_than_matching_it_sets_the_pace():
    plan = plan_scoring(Work(3368, 15_913, 2048, 4), 2 * GIB, gpu=12 * GIB)
    found = project_test(plan, TestRates(pair=1e-10, image=0.0, ranked_query=1.0))
    assert found.total == pytest.approx(3368, rel=1e-3)
