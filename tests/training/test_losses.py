"""The pairwise matching loss by hand; its published numbers are in test_golden.py."""

from __future__ import annotations

import math

import pytest
import torch

from bench.training.losses import mean_of_finite, pairwise_matching_loss


def test_loss_sums_over_the_gallery_the_diagonal_included():
    scores = torch.tensor([[2.0, -1.0], [0.0, 3.0]])
    loss, _ = pairwise_matching_loss(scores, torch.tensor([1, 2]))
    assert loss[0].item() == pytest.approx(math.log1p(math.exp(-2)) + math.log1p(math.exp(-1)))
    assert loss[1].item() == pytest.approx(math.log1p(math.exp(-3)) + math.log(2))


@pytest.mark.parametrize(("worst_match", "hit"), [(0.6, True), (0.5, False), (0.4, False)])
def test_a_hit_is_a_worst_match_above_the_best_other(worst_match, hit):
    scores = torch.tensor([[-9.0, worst_match, 0.9, 0.5], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    found = pairwise_matching_loss(scores, torch.tensor([1, 1, 1, 2]))[1]
    assert found[0].item() is hit


def test_the_query_itself_is_no_match():
    scores = torch.tensor([[-9.0, 1.0, 0.0], [1.0, -9.0, 0.0], [0.0, 0.0, 0.0]])
    assert pairwise_matching_loss(scores, torch.tensor([1, 1, 2]))[1].all()


def test_a_query_without_another_match_counts_as_a_hit():
    assert pairwise_matching_loss(torch.full((3, 3), 5.0), torch.tensor([1, 2, 3]))[1].all()


def test_queries_with_an_infinite_loss_leave_mean_and_gradients_alone():
    scores = torch.tensor([[1.0, math.inf], [0.0, 1.0]], requires_grad=True)
    loss = mean_of_finite(pairwise_matching_loss(scores, torch.tensor([1, 2]))[0])
    loss.backward()
    assert loss.isfinite() and scores.grad.isfinite().all() and scores.grad[0].eq(0).all()
