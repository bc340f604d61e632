"""Pairs of a batch with itself, each once."""

from __future__ import annotations

import pytest
import torch

from variants._unordered import UnorderedPairs


@pytest.mark.parametrize("images", [1, 2, 5])
def test_each_pair_is_taken_once_and_given_back_to_both_its_places(images):
    pairs = UnorderedPairs(images, torch.device("cpu"))
    table = torch.randn(images, images, 3)
    table = table + table.transpose(0, 1)
    taken = pairs.of(table)
    first, second = torch.triu_indices(images, images)
    assert torch.equal(taken, table[first, second])
    assert torch.equal(pairs.to_all(taken), table.flatten(0, 1))
    assert int(pairs.counts.sum()) == images**2 and pairs.counts[0] == 1


@pytest.mark.parametrize("images", [1, 4])
def test_gradients_are_those_of_finite_differences(images):
    pairs = UnorderedPairs(images, torch.device("cpu"))
    table = torch.randn(images, images, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(pairs.of, table)
    values = torch.randn(images * (images + 1) // 2, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(pairs.to_all, values)


def test_a_pair_that_is_no_number_spoils_no_other_gradient():
    pairs = UnorderedPairs(3, torch.device("cpu"))
    table = torch.ones(3, 3, requires_grad=True)
    (pairs.of(table) * torch.tensor([1.0, float("nan"), 1, 1, 1, 1])).sum().backward()
    assert table.grad.isnan().sum() == 1 and table.grad[0, 1].isnan()
