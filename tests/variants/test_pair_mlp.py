"""TransMatcher's MLP in blocks against the same layers as modules, one after the other."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from variants import build
from variants._base import Repr
from variants.kernels import Mlp, mlp, normed_mlps


def layers(dtype: torch.dtype) -> nn.ModuleList:
    """Norm of one channel, linear, norm, linear."""
    torch.manual_seed(4)
    norms = nn.BatchNorm1d(1), nn.BatchNorm1d(12)
    for norm in norms:
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            nn.init.normal_(tensor)
        norm.running_var.uniform_(0.5, 2)
    return nn.ModuleList((norms[0], nn.Linear(7, 12), norms[1], nn.Linear(12, 1))).to(dtype)


def as_modules(rows: Tensor, parts: nn.ModuleList) -> Tensor:
    return parts[3](parts[2](parts[1](parts[0](rows[:, None])[:, 0])).relu())


def in_blocks(rows: Tensor, parts: nn.ModuleList, counts: Tensor | None = None) -> Tensor:
    return next(normed_mlps([rows], counts, [Mlp(*parts)]))


def results(function, rows: Tensor, parts: nn.ModuleList) -> list[Tensor]:
    """Output, gradients of rows and of all parameters, and the norm's buffers afterwards."""
    rows = rows.clone().requires_grad_()
    found = function(rows)
    (found * torch.linspace(-1, 2, len(found), dtype=found.dtype)[:, None]).sum().backward()
    return [found, rows.grad, *(p.grad for p in parts.parameters()), *parts.buffers()]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("count", [2, 50, 203])
def test_blocks_give_the_numbers_of_the_modules(training, count, monkeypatch):
    monkeypatch.setattr(mlp, "BLOCK_ENTRIES", 40 * 12)
    parts = layers(torch.float64).train(training)
    twins = copy.deepcopy(parts)
    rows = 3 + torch.randn(count, 7, dtype=torch.float64)
    ours = results(lambda x: in_blocks(x, parts), rows, parts)
    theirs = results(lambda x: as_modules(x, twins), rows, twins)
    for found, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_without_a_momentum_statistics_are_the_mean_over_batches():
    parts = layers(torch.float64)
    twins = copy.deepcopy(parts)
    for norm in (parts[0], parts[2], twins[0], twins[2]):
        norm.momentum = None
        norm.reset_running_stats()
    for _ in range(3):
        rows = torch.randn(9, 7, dtype=torch.float64)
        in_blocks(rows, parts), as_modules(rows, twins)
    for found, expected in zip(parts[1].buffers(), twins[1].buffers(), strict=True):
        torch.testing.assert_close(found, expected)


def test_counts_stand_for_repeated_rows():
    parts = layers(torch.float64)
    twins = copy.deepcopy(parts)
    rows = torch.randn(30, 7, dtype=torch.float64)
    counts = torch.randint(1, 4, (30,))
    ours = results(lambda x: in_blocks(x, parts, counts).repeat_interleave(counts, dim=0), rows, parts)
    theirs = results(lambda x: in_blocks(x.repeat_interleave(counts, dim=0), twins), rows, twins)
    for found, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_one_row_has_no_batch_statistics():
    with pytest.raises(ValueError, match="more than one row"):
        in_blocks(torch.zeros(1, 7), layers(torch.float32))


@pytest.mark.parametrize("symmetric", [True, False])
def test_half_of_the_pairs_give_the_gradients_of_all(symmetric):
    head = build("transmatcher", (16, 4, 2), feedforward=24, layers=2, symmetric_prior=symmetric).double()
    twin = copy.deepcopy(head)
    levels = torch.randn(5, 2, 8, 16, dtype=torch.float64)
    weights = torch.randn(5, 5, dtype=torch.float64)
    ours, first, second = (levels.clone().requires_grad_() for _ in range(3))
    batch = Repr(levels=ours)
    (head.match(batch, batch) * weights).sum().backward()
    (twin.match(Repr(levels=first), Repr(levels=second)) * weights).sum().backward()
    torch.testing.assert_close(ours.grad, first.grad + second.grad, rtol=1e-8, atol=1e-10)
    for (name, found), expected in zip(head.named_parameters(), twin.parameters(), strict=True):
        if found.grad is not None:
            torch.testing.assert_close(found.grad, expected.grad, rtol=1e-7, atol=1e-9, msg=name)
    for found, expected in zip(head.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(found, expected)


def test_short_formats_run_through_the_whole_head():
    head = build("transmatcher", (16, 4, 2), feedforward=24, layers=2)
    levels = torch.randn(5, 2, 8, 16)
    exact = head.match(Repr(levels=levels), Repr(levels=levels))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = head.match(Repr(levels=levels), Repr(levels=levels))
    assert (found.float() - exact).norm() < 0.1 * exact.norm()
    batch = Repr(levels=levels.bfloat16().requires_grad_())
    head.bfloat16().match(batch, batch).float().sum().backward()
    assert batch.levels.grad.isfinite().all()
