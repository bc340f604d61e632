"""The local matches on a page are those that a run's head offers, whatever head that is."""

from __future__ import annotations

import base64

import numpy as np
import pytest
import torch
from played_lists import LABELS, LEFT_OUT, QUERIES, play

from bench.errors import CellFailed
from bench.journal.record import read_records
from bench.report.collect import collect
from bench.report.page import local_matches
from bench.report.page.explorer import shown_tests
from bench.report.page.local_matches import FALSE_ACCEPTANCE, MOST_LINES, matches_of
from variants._base import Head, LocalMatches, Repr

pytestmark = pytest.mark.slow


class Outside(Head):
    """Matches each position with the one as far from the other end; of two levels the second is twice as similar."""

    offers_local_matches = True

    def encode(self, feature_map):
        return Repr(brightness=feature_map.flatten(2).mean(dim=1))

    def local_matches(self, query, gallery):
        there = torch.arange(self.tokens).expand(len(query), -1)
        alike = -(query.brightness - gallery.brightness.flip(1)).abs()
        return [
            LocalMatches(name, there, there.flip(1), scale * alike, alike, alike.sum(dim=1))
            for name, scale in (("low", 1), ("high", 2))
        ]

    def pair_bytes(self, training=False):
        return 4 * self.tokens


@pytest.fixture
def outside(pooling_model):
    """A network whose head is from outside the suite."""
    model = pooling_model()
    model.head = Outside(model.head.feature_shape)
    return model.eval()


@pytest.fixture
def matched(tmp_path, monkeypatch):
    """Compute the local matches of the played runs, whose networks are given by the labels of their rows."""
    play(tmp_path, tmp_path / "data")
    [test], _ = shown_tests(collect(read_records(tmp_path), ["table2"]), tmp_path)

    def compute(networks):
        def load(folder, device, head):
            found = networks[folder.name.removesuffix("-played")]
            if isinstance(found, Exception):
                raise found
            return found, None

        monkeypatch.setattr(local_matches, "load_network", load)
        return matches_of(test, range(QUERIES), tmp_path / "data", tmp_path, "cpu")

    compute.data = tmp_path / "data"
    return compute


def unpacked(text):
    return np.frombuffer(base64.b64decode(text), dtype="u1").reshape(-1, 3)


def test_a_head_from_outside_is_shown_level_by_level(matched, outside):
    [first, second] = matched(dict.fromkeys(LABELS, outside))
    _, rows, columns = outside.head.feature_shape
    assert first.levels == second.levels == ("low", "high") and first.grid == (rows, columns)
    assert len(second.by_pair) == QUERIES * 12 and second.of(0, LEFT_OUT) and not second.of(0, 99)
    for levels in second.by_pair.values():
        for _, packed in levels:
            cells = unpacked(packed)
            assert 0 < len(cells) <= MOST_LINES
            assert (cells[:, 0] + cells[:, 1] == rows * columns - 1).all()


def test_of_the_wrong_pairs_at_most_the_asked_share_passes(matched, outside):
    [found, _] = matched(dict.fromkeys(LABELS, outside))
    wrong = [levels for (query, gallery), levels in found.by_pair.items() if gallery not in (query, LEFT_OUT)]
    for level in range(2):
        passing = sum((unpacked(levels[level][1])[:, 2] > 0).sum() for levels in wrong)
        assert passing <= FALSE_ACCEPTANCE * len(wrong) * outside.head.tokens


def test_a_head_without_local_matches_says_so(matched, outside, pooling_model):
    plain = pooling_model()
    plain.head.offers_local_matches = False
    [without, offered] = matched(dict(zip(LABELS, (plain, outside), strict=True)))
    assert without.told == f"{LABELS[0]} offers no local matches." and not without.by_pair and offered.by_pair


def test_a_network_that_cannot_be_had_costs_its_own_matches_alone(matched, outside):
    [lost, there] = matched({LABELS[0]: CellFailed("the checkpoint is gone"), LABELS[1]: outside})
    assert "the checkpoint is gone" in lost.told and not lost.by_pair and there.by_pair


def test_pictures_that_are_gone_have_no_matches(matched, outside):
    (matched.data / "market" / "g0003_c2.png").unlink()
    [found, _] = matched(dict.fromkeys(LABELS, outside))
    assert found.of(0, 1) and not any(gallery == 2 for _, gallery in found.by_pair)
