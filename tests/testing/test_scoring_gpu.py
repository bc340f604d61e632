"""Scoring on a GPU: the scores of a CPU up to rounding in every dtype, also where memory runs out on the way."""

from __future__ import annotations

import pytest
import torch

from bench.computing import compute_as_runs_do
from bench.testing.blocks import BlockScorer, score_all
from variants import build
from variants._base import Head, Repr

GPU = torch.device("cuda:0")

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


@pytest.fixture(autouse=True)
def _as_a_run_is():
    compute_as_runs_do(GPU)
    yield
    torch.use_deterministic_algorithms(False)


def drawn(name: str) -> Head:
    torch.manual_seed(0)
    options = {"feedforward": 64, "layers": 2} if name != "qaconv" else {}
    return build(name, (64, 12, 4), **options).eval()


def kept(head: Head, count: int, dtype: torch.dtype) -> Repr:
    with torch.inference_mode():
        found = head.encode(torch.randn(count, 64, 12, 4, generator=torch.Generator().manual_seed(count)))
    return Repr(**{name: tensor.to(dtype) for name, tensor in found.items()})


@pytest.mark.parametrize(
    ("name", "scoring", "bound"),
    [
        *((name, scoring, 1e-3) for name in ("transmatcher", "qaconv") for scoring in ("float32", "tf32x3")),
        # Products of numbers of 16 bits are exact in float32; what differs is the order of sums.
        *((name, half, 1e-3) for name in ("transmatcher", "qaconv") for half in ("float16", "bfloat16")),
        ("transformer_cat", "float32", 1e-3),
        ("transformer_cat", "float16", 0.05),
    ],
)
def test_scores_are_those_of_a_cpu_up_to_rounding(name, scoring, bound):
    if scoring == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("the GPU has no bfloat16")
    head = drawn(name)
    dtype = torch.float32 if scoring == "tf32x3" else getattr(torch, scoring)
    sides = kept(head, 7, dtype), kept(head, 11, dtype)
    expected = score_all(head, *sides, 2**24, scoring=scoring)
    found = score_all(head.to(GPU), *(side.to(GPU) for side in sides), 2**24, scoring=scoring)
    assert found.device.type == "cpu" and found.dtype == torch.float32
    assert (found - expected).abs().max() < bound * expected.std()


def test_blocks_are_halved_where_memory_runs_out():
    head = drawn("transmatcher").to(GPU)
    sides = [kept(head.cpu(), count, torch.float32).to(GPU) for count in (512, 2048)]
    head.to(GPU)
    budget = 2**40  # all pairs in one block: their maxima alone take 800 MB
    expected = torch.empty(512, 2048)
    whole = BlockScorer(head, 2**28)
    whole.score(*sides, expected)
    whole.finish()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(GPU).total_memory
    told: list[str] = []
    found, scorer = torch.empty_like(expected), BlockScorer(head, budget, say=told.append)
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(GPU) + 2**28) / total, GPU)
    try:
        scorer.score(*sides, found)
        scorer.finish()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, GPU)
    assert scorer.parts > 1 and len(told) == scorer.parts.bit_length() - 1
    assert whole.parts == 1 and (found - expected).abs().max() < 1e-3 * expected.std()
