"""Names and values in pictures stand beside marks, never on them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from bench.report.labels import Dot, place_labels, write_values

NAMES = ("ViT", "Transformer", "TransMatcher", "QAConv-GS", "cosine", "Transformer-Cat", "Transformer-Cross shared FC")


def drawn(figure: Figure, axes) -> list[Bbox]:
    """Boxes of the texts that annotate an axes, in pixels."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = [text for text in axes.texts if isinstance(text, Annotation) and text.get_text()]
    return [text.get_window_extent(renderer) for text in texts]


@pytest.mark.parametrize("seed", range(8))
def test_no_name_covers_a_dot_an_error_bar_or_another_name(seed):
    draws = np.random.default_rng(seed)
    figure = Figure(figsize=(8, 5))
    axes = figure.add_subplot()
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 50)
    dots = [
        Dot(name, float(x), float(y), 4.5, 5.0)
        for name, x, y in zip(NAMES, draws.uniform(2, 8, 7), draws.uniform(5, 40, 7), strict=True)
    ]
    place_labels(figure, axes, dots)
    boxes = drawn(figure, axes)
    assert len(boxes) == len(dots)
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    for dot in dots:
        (x, low), (_, high) = axes.transData.transform([(dot.x, dot.y - dot.below), (dot.x, dot.y + dot.above)])
        bar = Bbox.from_extents(x - 4, low, x + 4, high)
        assert not any(box.overlaps(bar) for box in boxes)


@pytest.mark.parametrize("published", [20.0, 25.0, 30.0, 33.0, 34.0, 36.0, 38.0, 45.0, None])
def test_the_value_of_a_bar_stands_clear_of_its_error_bar_and_of_the_published_diamond(published):
    figure = Figure(figsize=(8, 3))
    axes = figure.add_subplot()
    axes.set_xlim(0, 60)
    axes.set_ylim(-0.5, 0.5)
    write_values(figure, axes, [(30.0, 33.0, published)])
    [box] = drawn(figure, axes)
    end, _ = axes.transData.transform((33.0, 0))
    assert box.x0 > end
    if published is not None:
        x, y = axes.transData.transform((published, 0))
        assert not box.overlaps(Bbox.from_bounds(x - 7, y - 7, 14, 14))
