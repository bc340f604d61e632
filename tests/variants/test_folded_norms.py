"""Batch norms over maxima that became part of the layer behind them, against torch.nn's own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from variants.kernels import Mlp, normed_linear, normed_mlps

SHAPE = (5, 4, 2, 6)


def norm_and_linear(training: bool, momentum: float | None = 0.1) -> nn.ModuleList:
    torch.manual_seed(1)
    norm = nn.BatchNorm1d(1, momentum=momentum)
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(tensor)
    norm.running_var.uniform_(0.5, 2)
    return nn.ModuleList((norm, nn.Linear(6, 1))).double().train(training)


def as_modules(values: Tensor, norm: nn.Module, linear: nn.Module) -> Tensor:
    return linear(norm(values.view(-1, 1, 6)).view(values.shape))


@pytest.mark.parametrize("training", [True, False])
def test_a_folded_norm_gives_numbers_gradients_and_statistics_of_the_module(training):
    parts = norm_and_linear(training)
    twins = copy.deepcopy(parts)
    values = 3 + torch.randn(SHAPE, dtype=torch.float64)
    cotangent = torch.randn(*SHAPE[:3], 1, dtype=torch.float64)
    found = []
    for function, modules in ((normed_linear, parts), (as_modules, twins)):
        inputs = values.clone().requires_grad_()
        result = function(inputs, *modules)
        (result * cotangent).sum().backward()
        found.append([result, inputs.grad, *(p.grad for p in modules.parameters()), *modules.buffers()])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("counted", [True, False])
def test_gradients_are_those_of_finite_differences(training, counted):
    norm, linear = norm_and_linear(training)
    second, last = nn.BatchNorm1d(3).double().train(training), nn.Linear(3, 1).double()
    first = nn.Linear(6, 3).double()
    counts = torch.randint(1, 3, (9,)) if counted else None
    rows = torch.randn(9, 6, dtype=torch.float64, requires_grad=True)
    mlp = Mlp(norm, first, second, last)
    assert torch.autograd.gradcheck(lambda x: next(normed_mlps([x], counts, [mlp])), rows)
    assert torch.autograd.gradcheck(lambda x: normed_linear(x, norm, linear), rows)


def test_without_a_norm_a_linear_layer_is_left():
    linear = norm_and_linear(True)[1]
    values = torch.randn(SHAPE, dtype=torch.float64)
    assert torch.equal(normed_linear(values, None, linear), linear(values))


@pytest.mark.parametrize("momentum", [0.3, None])
def test_running_statistics_follow_batch_after_batch(momentum):
    parts = norm_and_linear(True, momentum)
    twins = copy.deepcopy(parts)
    for _ in range(3):
        values = 2 + torch.randn(SHAPE, dtype=torch.float64)
        normed_linear(values, *parts), as_modules(values, *twins)
    for ours, theirs in zip(parts.buffers(), twins.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_one_value_has_no_batch_statistics():
    norm = nn.BatchNorm1d(1)
    with pytest.raises(ValueError, match="more than one"):
        normed_linear(torch.zeros(1, 1), norm, nn.Linear(1, 1))
    assert norm.num_batches_tracked == 0


@pytest.mark.parametrize("training", [True, False])
def test_a_mean_far_from_zero_costs_no_digits(training):
    """Rows whose mean is 30 times their spread, as maxima have it: in float32, and in products of 16 bits."""
    torch.manual_seed(2)
    rows = 30 + torch.randn(400, 6)
    parts = nn.ModuleList((nn.BatchNorm1d(1), nn.Linear(6, 64), nn.BatchNorm1d(64), nn.Linear(64, 1)))
    parts[0].running_mean.fill_(30.0)
    parts.train(training)
    exact = copy.deepcopy(parts).double()
    with torch.no_grad():
        expected = exact[3](exact[2](exact[1](exact[0](rows.double()[:, None])[:, 0])).relu())
        found = next(normed_mlps([rows], None, [Mlp(*copy.deepcopy(parts))]))
        with torch.autocast("cpu", torch.bfloat16):
            rough = next(normed_mlps([rows], None, [Mlp(*parts)]))
    spread = expected.std()
    assert (found - expected).abs().max() < 3e-5 * spread
    assert (rough - expected).abs().max() < 0.05 * spread
