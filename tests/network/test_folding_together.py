"""Norms folded together: the numbers of each by itself, in any layout of the weights, and few kernels for all."""

from __future__ import annotations

import copy

import pytest
import torch
from launches import Launches, mixed_precision
from torch import nn

from bench.network.backbone import build_backbone
from bench.network.folding import Pair, fold

SIZES = [(3, 8, 3), (8, 4, 1), (3, 5, 3), (8, 7, 1), (27, 6, 1)]
"""Channels in, channels out and kernel: rows of two lengths."""


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch):
    monkeypatch.setattr("bench.network.folding._saves_launches", lambda device: True)


def pairs(sizes=SIZES, without_a_norm: int = 0) -> list[Pair]:
    torch.manual_seed(6)
    found = []
    for inputs, outputs, kernel in sizes:
        norm = nn.BatchNorm2d(outputs - without_a_norm)
        for values in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
            values.uniform_(0.5, 1.5)
        found.append((nn.Conv2d(inputs, outputs, kernel, bias=False), norm))
    return found


def with_gradients(given: list[Pair], together: bool) -> list[torch.Tensor]:
    """Weight and bias of each convolution, and the gradients of its weight and its norm's scale and shift."""
    groups = [given] if together else [[pair] for pair in given]
    folded = {convolution: parts for group in groups for convolution, parts in fold(group).items()}
    found = []
    for convolution, norm in given:
        parameters = convolution.weight, norm.weight, norm.bias
        total = sum(part.square().sum() for part in folded[convolution])
        found += [*folded[convolution], *torch.autograd.grad(total, parameters, retain_graph=True)]
    return found


@pytest.mark.parametrize("without_a_norm", [0, 2])
@pytest.mark.parametrize("autocast", [False, True])
def test_each_has_the_numbers_that_it_has_alone(without_a_norm, autocast):
    given = pairs(without_a_norm=without_a_norm)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        ours, alone = with_gradients(given, True), with_gradients(given, False)
    assert all(torch.equal(*both) for both in zip(ours, alone, strict=True))
    assert ours[0].dtype == ours[1].dtype == (torch.bfloat16 if autocast else torch.float32)


def test_channels_without_a_norm_stay_as_they_are():
    (convolution, norm), *_ = given = pairs(without_a_norm=2)
    weight, bias = fold(given)[convolution]
    assert torch.equal(weight[:2], convolution.weight[:2]) and not bias[:2].any()
    assert not torch.equal(weight[2:], convolution.weight[2:]) and bias[2:].all()
    assert len(bias) == norm.num_features + 2


def test_weights_with_channels_last_and_their_gradients_stay_so():
    backbone = build_backbone("resnet18", ibn="a", cut="layer1", neck=4).double()
    backbone.freeze_batchnorm = True
    last = copy.deepcopy(backbone).to(memory_format=torch.channels_last)
    images = torch.rand(2, 3, 32, 16, dtype=torch.float64)
    for network in (backbone, last):
        network.train()(images).sin().sum().backward()
    for ours, expected in zip(last.parameters(), backbone.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, expected.grad, rtol=1e-9, atol=1e-9)
        assert ours.grad.stride() == ours.stride()


def test_kernels_do_not_grow_with_the_number_of_norms():
    launches = []
    for given in (pairs(), pairs() + pairs()):
        with mixed_precision("cpu", torch.bfloat16), Launches() as forward:
            parts = [part for folded in fold(given).values() for part in folded]
        gradients = [torch.ones_like(part) for part in parts]
        with Launches() as backward:
            torch.autograd.backward(parts, gradients)
        launches.append((forward.launches, backward.launches))
    assert launches[0] == launches[1] and sum(launches[0]) < 60


def test_norms_that_differ_in_eps_are_refused():
    given = pairs()
    given[1][1].eps = 1e-3
    with pytest.raises(ValueError, match="the same eps"):
        fold(given)


def test_without_frozen_norms_nothing_is_folded():
    assert fold([]) == {}
