"""Pictures of local matches show what passes the threshold, once, at its true place, and say what they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection

from bench.report.match_pictures import GAP, PairBlock, draw_matches
from bench.report.pictures import files_of
from variants._base import LocalMatches

GRID = 4, 2
SIZE = 64, 32


def level(name: str, *matches: tuple[int, int, float], score: float = 0.0) -> LocalMatches:
    """A level of one pair with matches of (query cell, gallery cell, similarity)."""
    query, gallery, similarity = (torch.tensor([column]) for column in zip(*matches, strict=True))
    return LocalMatches(name, query, gallery, similarity, torch.ones_like(similarity), torch.tensor([score]))


def block(title: str, *levels: LocalMatches) -> PairBlock:
    images = np.random.default_rng(0).integers(0, 256, (2, 1, 3, *SIZE), dtype=np.uint8)
    return PairBlock(title, ("a.jpg  |  b.jpg",), *images, levels)


@pytest.fixture
def drawn():
    """The lines of each pair's axes, in the order drawn, as (ends [n, 2, 2], similarities); and all texts."""

    def draw(*blocks: PairBlock, threshold: float = 0.5, warning: str = ""):
        figure = draw_matches(blocks, [threshold] * len(blocks[0].levels), GRID, "title", warning)
        lines = [
            (np.array(found.get_segments()), np.asarray(found.get_array()))
            for axes in figure.axes
            for found in axes.collections
            if isinstance(found, LineCollection) and axes.images
        ]
        texts = [text.get_text() for text in figure.texts]
        texts += [text for axes in figure.axes for text in (axes.get_title(), axes.get_xlabel())]
        return lines, texts

    return draw


def test_lines_join_the_centres_of_the_cells(drawn):
    ((ends, strength),), _ = drawn(block("same", level("one", (0, 7, 0.9), (5, 2, 0.7))))
    second = SIZE[1] * (1 + GAP)
    # Cells are 16 x 16 pixels: cell 5 is row 2, column 1; cell 2 is row 1, column 0; the strongest comes last.
    np.testing.assert_allclose(ends[0], [(24, 40), (second + 8, 24)])
    np.testing.assert_allclose(ends[1], [(8, 8), (second + 24, 56)])
    np.testing.assert_allclose(strength, [0.7, 0.9])


def test_only_what_is_above_the_threshold_is_drawn_and_once(drawn):
    found = level("one", (0, 0, 0.5), (1, 1, 0.6), (1, 1, 0.6), (2, 2, 0.4))
    ((ends, strength),), _ = drawn(block("same", found))
    assert len(ends) == 1 and strength.tolist() == pytest.approx([0.6])


def test_where_nothing_passes_the_picture_is_made_all_the_same(drawn):
    found = level("one", (0, 0, 0.1))
    ((ends, _),), _ = drawn(block("same", found))
    assert len(ends) == 0


def test_levels_stand_beside_one_another_with_their_scores(drawn):
    levels = level("one", (0, 0, 0.9), score=1.5), level("two", (1, 1, 0.9), (2, 2, 0.8), score=-2.25)
    lines, texts = drawn(block("same", *levels), block("other", *levels), warning="STAND-IN DATA")
    assert [len(ends) for ends, _ in lines] == [1, 2, 1, 2]
    assert {"title", "STAND-IN DATA", "same", "other", "one", "two", "score 1.50", "score -2.25"} <= set(texts)


def test_the_same_matches_make_the_same_files():
    found = block("same", level("one", (0, 7, 0.9), (5, 2, 0.7)))
    first, second = (files_of(draw_matches([found], [0.5], GRID, "title"), "m") for _ in range(2))
    assert first == second and sorted(first) == ["m.pdf", "m.png"]
