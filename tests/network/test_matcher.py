"""Backbone and head as one network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.network.matcher import Matcher


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_what_is_trained_in_half_precision_is_tested_in_float32(tiny_config, few_persons, precision):
    images, first = few_persons[0], np.arange(4)
    whole, half = (
        Matcher(tiny_config(training={"precision": asked}), "transmatcher", None) for asked in ("fp32", precision)
    )
    exact = whole.encode_all(images, first, 2, "float32")
    found = half.encode_all(images, first, 2, "float32")
    for (_, tensor), (_, expected) in zip(found.items(), exact.items(), strict=True):
        assert torch.equal(tensor, expected)


def test_representations_for_bfloat16_scoring_are_encoded_as_trained(tiny_config, few_persons):
    config = tiny_config(training={"precision": "bf16"})
    model = Matcher(config, "transmatcher", None)
    found = model.encode_all(few_persons[0], np.arange(4), 2, "bfloat16")
    assert {tensor.dtype for _, tensor in found.items()} == {torch.bfloat16}
