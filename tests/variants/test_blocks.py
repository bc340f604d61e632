"""Heads that pay per pair work block by block, exactly, within a budget."""

from __future__ import annotations

import copy

import apart
import fresh_python
import pytest
import torch

from variants import _pairs, build
from variants._laws import make, maps

HEADS = [
    ("transformer_cat", {}),
    ("transformer_cat", {"fusion": "score"}),
    ("transformer_cat", {"fusion": "feature"}),
    ("transformer_cross", {}),
    ("transformer_cross", {"fusion": "multi_scale", "encode_query": True}),
    ("transformer_cross_shared", {"heads": 2}),
]


def step(head, training: bool) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Scores of a batch with itself and the gradients they send, in float64."""
    head = copy.deepcopy(head).double().train(training)
    images = maps(6, 1, torch.float64).requires_grad_()
    found = head.encode(images)
    scores = head.match(found, found)
    weights = torch.randn(6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (scores * weights).sum().backward()
    gradients = {name: parameter.grad for name, parameter in head.named_parameters()}
    statistics = {name: value for name, value in head.named_buffers() if value.is_floating_point()}
    return scores.detach(), {"images": images.grad, **gradients, **statistics}


@pytest.mark.parametrize(("name", "options"), HEADS, ids=str)
@pytest.mark.parametrize("pairs", [1, 4, 5, 6, 13, 35])
@pytest.mark.parametrize("training", [True, False])
def test_blocks_change_neither_scores_nor_gradients_nor_statistics(name, options, pairs, training, monkeypatch):
    head = make(name, options)
    scores, gradients = step(head, training)
    monkeypatch.setattr(_pairs, "TRAINING_BLOCK_BYTES", pairs * head.pair_bytes(training=True))
    calls = []
    score_pairs = type(head).score_pairs
    monkeypatch.setattr(
        type(head), "score_pairs", lambda self, q, g: calls.append(len(q) * len(g)) or score_pairs(self, q, g)
    )
    blocked_scores, blocked_gradients = step(head, training)
    assert max(calls) <= pairs and sum(calls) == 2 * 36  # once forward, once again for the backward pass
    torch.testing.assert_close(blocked_scores, scores)
    torch.testing.assert_close(blocked_gradients, gradients)


def test_nothing_is_computed_twice_when_all_pairs_fit(monkeypatch):
    head = make("transformer_cat", {})
    calls = []
    score_pairs = type(head).score_pairs
    monkeypatch.setattr(type(head), "score_pairs", lambda self, q, g: calls.append(1) or score_pairs(self, q, g))
    step(head, training=True)
    assert len(calls) == 1


PEAK = """
import torch
from bench.computing import compute_as_runs_do
from bench.stopwatch import peak_bytes, reset_peak
from variants import _pairs, build
device = torch.device("cpu")
compute_as_runs_do(device, 1)
_pairs.TRAINING_BLOCK_BYTES = 64 * 2**20
head = build(name, (64, 8, 4), feedforward=128, layers=2).train()
found = head.encode(torch.randn(images, 64, 8, 4))
reset_peak(device)
before = peak_bytes(device)
head.match(found, found).sigmoid().sum().backward()
print((peak_bytes(device) - before) / 2**20)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["transformer_cat", "transformer_cross"])
def test_the_peak_does_not_grow_with_the_number_of_pairs(name):
    def peak(images: int) -> float:
        return float(apart.code(PEAK, {"name": name, "images": images}))

    small, large = peak(24), peak(48)  # 576 pairs, then 2304
    assert 16 < large < 1.25 * small + 8


STEP = """
import torch
from bench.computing import compute_as_runs_do
from bench.stopwatch import peak_bytes, reset_peak
from variants import _pairs, build
device = torch.device("cpu")
compute_as_runs_do(device, 1)
images, width, feedforward, layers, height, block = sizes
_pairs.TRAINING_BLOCK_BYTES = block
head = build(name, (width, height, height // 3), feedforward=feedforward, layers=layers).train()
maps = torch.randn(images, width, height, height // 3)
def step(count):
    found = head.encode(maps[:count])
    head.match(found, found).sigmoid().sum().backward()
    head.zero_grad()
step(2)
reset_peak(device)
before = peak_bytes(device)
step(images)
print(head.training_bytes(images), peak_bytes(device) - before)
"""

SMALL, FULL_SIZE = (24, 96, 256, 2, 12, 2**26), (8, 512, 2048, 3, 24, 2**29)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("transformer_cat", SMALL),
        ("transformer_cross", SMALL),
        ("transformer_cross_shared", SMALL),
        ("transformer_cross", FULL_SIZE),
    ],
)
def test_the_predicted_peak_of_a_step_is_that_measured(name, sizes):
    # Not in a process that was forked: it would use again what its parent has freed, unseen.
    predicted, measured = map(int, fresh_python.run(f"name, sizes = {name!r}, {sizes!r}\n{STEP}").split())
    # Small steps take less by what allocators scatter where freed memory is not kept.
    assert 0.4 * (predicted - _pairs.SCATTERED_BYTES) < measured < 1.1 * predicted


@pytest.mark.parametrize("name", ["transformer_cat", "transformer_cross", "transformer_cross_shared"])
def test_a_full_size_step_is_predicted_to_fit(name):
    with torch.device("meta"):
        head = build(name, (512, 24, 8), feedforward=2048, layers=3)
    few, many = head.training_bytes(8), head.training_bytes(64)
    assert few < 8 * 2**30 and many < 24 * 2**30
    # Pairs take one block however many they are: images alone make the difference.
    assert many - few == 56 * head.image_bytes()
    assert head.training_bytes(64, "cuda") < 24 * 2**30


@pytest.mark.parametrize("name", ["transformer_cat", "transformer_cross", "transformer_cross_shared"])
def test_what_a_pair_keeps_is_not_understated(name):
    """The bytes that autograd keeps for a pair, counted, are no more than what block sizes are made from."""
    head = build(name, (64, 8, 4), feedforward=256, layers=3).train()
    found = head.encode(torch.randn(4, 64, 8, 4))
    kept: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {parameter.untyped_storage().data_ptr() for parameter in head.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        head.match(found, found)
    measured = sum(size for place, size in kept.items() if place not in weights) / 16
    assert 0.5 * head.pair_bytes(training=True) < measured < 1.1 * head.pair_bytes(training=True)
