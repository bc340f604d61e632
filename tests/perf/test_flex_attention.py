"""FlexAttention as a peer of the operator: the same maxima, or a reason why it is not measured."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from bench.perf.flex import FLEX, flex_maxima, flex_run
from bench.perf.run import compare_flex
from bench.perf.works import OPERATOR, Work, operands
from variants.kernels import maxima

SMALL = Work(OPERATOR, "scoring", "float32", 3, 16, 16, 16, 1, "cpu")


def attend(query, key, value, score_mod, scale, return_aux):
    """What FlexAttention computes, spelled out: [B, H, T, d] each."""
    assert return_aux.max_scores and scale == 1.0
    rows, columns = torch.meshgrid(torch.arange(query.shape[2]), torch.arange(key.shape[2]), indexing="ij")
    scores = score_mod(query @ key.transpose(2, 3), None, None, rows, columns)
    return scores.softmax(-1) @ value, SimpleNamespace(max_scores=scores.amax(-1))


def test_its_row_maxima_in_both_directions_are_the_operators():
    query, gallery, prior = operands(SMALL, 3, 5)
    assert not torch.equal(prior, prior.T)
    torch.testing.assert_close(flex_maxima(query, gallery, prior, attend), maxima(query, gallery, prior))


def test_where_it_cannot_run_its_row_says_why():
    found = compare_flex(SMALL, repeats=1)
    assert found.median("ours") > 0 and found.timing(FLEX).seconds == []
    assert "not measured" in found.timing(FLEX).note and "CPU" in found.timing(FLEX).note


def test_other_maxima_than_the_operators_are_no_peer(monkeypatch):
    monkeypatch.setattr("bench.perf.flex.flex_maxima", lambda *arguments: 2 * maxima(*arguments[:3]))
    with pytest.raises(RuntimeError, match="differ from the operator's"):
        flex_run(*operands(SMALL))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_it_is_timed_beside_the_operator():
    found = compare_flex(Work(OPERATOR, "scoring", "bfloat16", 8, 192, 512, 16, 1, "cuda"), repeats=1)
    assert found.median(FLEX) > 0, found.timing(FLEX).note
