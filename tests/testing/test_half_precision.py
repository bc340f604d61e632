"""Scoring in 16 bits: representations are rounded as they are kept, and nothing else is."""

from __future__ import annotations

import pytest
import torch

from bench.testing.blocks import score_all
from bench.testing.memory_budget import Work, plan_scoring
from variants import build
from variants._base import Repr

HEADS = ("transmatcher", "qaconv")


def kept(dtype: torch.dtype, head: str) -> tuple[Repr, Repr]:
    torch.manual_seed(0)
    shape, name = ((2, 24, 32), "levels") if head == "transmatcher" else ((24, 32), "tokens")
    return tuple(Repr(**{name: torch.randn(count, *shape).to(dtype)}) for count in (5, 9))


def trained(name: str):
    """A head whose norms have statistics of their own."""
    torch.manual_seed(1)
    head = build(name, (32, 6, 4), **({"layers": 2, "feedforward": 48} if name == "transmatcher" else {}))
    with torch.no_grad():
        for _ in range(3):
            head.train().match(*kept(torch.float32, name))
    return head.eval()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", HEADS)
def test_numbers_kept_in_16_bits_give_the_scores_that_they_give_in_float32(name, dtype):
    head, sides = trained(name), kept(dtype, name)
    exact = [Repr(**{part: tensor.float() for part, tensor in side.items()}) for side in sides]
    found, expected = score_all(head, *sides, 2**20), score_all(head, *exact, 2**20)
    assert found.dtype == torch.float32 and expected.std() > 0.01
    # A product of two numbers of 11 bits is exact in float32: what differs is the order of sums.
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_under_autocast_they_would_not():
    """That the statement above can fail."""
    head, sides = trained("transmatcher"), kept(torch.bfloat16, "transmatcher")
    with torch.inference_mode():
        exact = head.match(*(Repr(levels=side.levels.float()) for side in sides))
        with torch.autocast("cpu", torch.bfloat16):
            assert (head.match(*sides) - exact).abs().max() > 1e-4


def test_a_head_that_does_not_take_16_bits_is_matched_under_autocast():
    seen = []
    head = build("transformer_cat", (32, 6, 4), layers=1, feedforward=16).eval()
    sides = [Repr(**{name: tensor.bfloat16() for name, tensor in head.encode(torch.rand(count, 32, 6, 4)).items()})
             for count in (2, 3)]  # fmt: skip
    match = head.match
    head.match = lambda *both: seen.append(torch.is_autocast_enabled("cpu")) or match(*both)
    assert not head.takes_16_bits and score_all(head, *sides, 2**24).isfinite().all() and all(seen)


@pytest.mark.parametrize("name", HEADS)
def test_tf32x3_is_float32_on_a_cpu(name):
    head, sides = trained(name), kept(torch.float32, name)
    assert torch.equal(score_all(head, *sides, 2**20, scoring="tf32x3"), score_all(head, *sides, 2**20))


def test_half_of_the_bytes_makes_half_of_the_chunks():
    plans = [plan_scoring(Work(3368, 15_913, size, 9216), 2 * 2**30) for size in (1_179_648, 589_824)]
    assert plans[0].chunks > 1.7 * plans[1].chunks
