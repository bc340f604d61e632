"""Local matches of pictures: the same in blocks as at once, within the memory of a block."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.errors import UserError
from bench.network.matcher import Matcher
from bench.testing import local_matches as module
from bench.testing.local_matches import block_pairs, check_offered, local_matches

PARTS = ("query_cell", "gallery_cell", "similarity", "weight", "score")


@pytest.fixture
def model(pooling_model) -> Matcher:
    return pooling_model(options={"layers": 2})


@pytest.fixture
def pictures(small_dataset) -> tuple[np.ndarray, np.ndarray]:
    images = small_dataset[1]
    return images[:7], images[10:17]


def test_blocks_give_the_matches_of_the_whole(model, pictures, monkeypatch):
    whole = local_matches(model, *pictures)
    monkeypatch.setattr(module, "BLOCK_BYTES", 1)
    assert block_pairs(model) == 1
    for one, other in zip(local_matches(model, *pictures), whole, strict=True):
        assert one.level == other.level
        for part in PARTS:
            torch.testing.assert_close(getattr(one, part), getattr(other, part))


def test_scores_add_up_to_those_of_a_test(model, pictures):
    levels = local_matches(model, *pictures)
    positions = np.arange(7)
    query, gallery = (model.encode_all(images, positions, 4) for images in pictures)
    with torch.no_grad():
        scores = model.head.match(query, gallery).diagonal()
        found = model.head.norm(torch.stack([level.score for level in levels]).sum(dim=0)[:, None])[:, 0]
    torch.testing.assert_close(found, scores)
    assert [tuple(level.query_cell.shape) for level in levels] == [(7, 2 * model.head.tokens)] * 2


def test_fewer_pairs_go_at_a_time_where_maps_are_larger(model):
    assert block_pairs(model) == module.MOST_PAIRS
    model.head.feature_shape = (16, 40, 20)
    assert 1 < block_pairs(model) < module.MOST_PAIRS


def test_sides_of_different_length_and_no_pairs_are_refused(model, pictures):
    for query, gallery in ((pictures[0][:2], pictures[1]), (pictures[0][:0], pictures[1][:0])):
        with pytest.raises(ValueError, match="as many images of both sides"):
            local_matches(model, query, gallery)


def test_a_head_that_offers_none_is_named(pooling_model):
    with pytest.raises(UserError, match="ViT offers no local matches"):
        check_offered(pooling_model(row="ViT"), "ViT")
