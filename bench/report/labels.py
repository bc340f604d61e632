"""Names in pictures: of letters that there are, and beside the dots of a scatter plot where they cover nothing."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from bench.progress import one_line

PLACES = [(distance, angle) for distance in (7, 14, 24, 36, 50, 70) for angle in (0, 180, 90, 270, 45, 315, 135, 225)]
"""Where a name may stand, nearest first: points from its dot, degrees."""


DIAMOND = 8
"""Half width of a published value's mark with its edge, in pixels at the figure's own resolution."""

NAME_WIDTH = 40
"""Characters of a name's line."""


def legible(text: str, width: int = NAME_WIDTH) -> str:
    """`text` in lines of at most `width` characters; letters that the font has no sign for are written as escapes."""
    known = get_font(findfont(FontProperties())).get_charmap()
    letters = (
        letter if ord(letter) in known else letter.encode("unicode_escape").decode() for letter in one_line(text)
    )
    return "\n".join(textwrap.wrap("".join(letters), width)) or text


@dataclass(frozen=True)
class Dot:
    """A dot with its name; its error bar reaches so far `below` and `above` it. In data coordinates."""

    name: str
    x: float
    y: float
    below: float
    above: float


def place_labels(figure: Figure, axes: Axes, dots: Sequence[Dot]) -> None:
    """Write each dot's name at the nearest place that is free, with a line to the dot where that is not beside it.

    Call it last: the limits and the size of `axes` must not change any more.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    taken = [box for dot in dots for box in _boxes(axes, dot)]
    for dot in dots:
        label = axes.annotate(dot.name, (dot.x, dot.y), (0, 0), textcoords="offset points", fontsize=8.5)
        label.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
        costs = {}
        for place in PLACES:
            _put(label, *place)
            box = label.get_window_extent(canvas.get_renderer())
            costs[place] = _overlap(box, taken) + _outside(box, axes.bbox)
            if costs[place] == 0:
                break
        best = min(costs, key=costs.__getitem__)
        _put(label, *best)
        taken.append(label.get_window_extent(canvas.get_renderer()))
        if best[0] > PLACES[0][0]:
            line = {"arrowstyle": "-", "color": "#999999", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3}
            axes.annotate("", (dot.x, dot.y), label.xyann, textcoords="offset points", arrowprops=line, zorder=1)


def _boxes(axes: Axes, dot: Dot) -> list[Bbox]:
    """What a dot and its error bar cover, in pixels."""
    x, y = axes.transData.transform((dot.x, dot.y))
    _, low = axes.transData.transform((dot.x, dot.y - dot.below))
    _, high = axes.transData.transform((dot.x, dot.y + dot.above))
    return [Bbox.from_bounds(x - 6, y - 6, 12, 12), Bbox.from_extents(x - 3, low, x + 3, high)]


def write_values(figure: Figure, axes: Axes, bars: Sequence[tuple[float, float, float | None]]) -> None:
    """Write the value of each horizontal bar, at heights 0, 1, ..., behind the first of its marks that leaves room.

    `bars` are (value, end of its error bar, published value or None): the value stands behind the error bar, or behind
    the diamond of the published value where that would lie in the way. Call it last, as `place_labels`.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    for height, (value, end, published) in enumerate(bars):
        label = axes.annotate(
            f"{value:.1f}", (end, height), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9
        )
        label.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
        if published is None:
            continue
        x, y = axes.transData.transform((published, height))
        diamond = Bbox.from_bounds(x - DIAMOND, y - DIAMOND, 2 * DIAMOND, 2 * DIAMOND)
        if diamond.overlaps(label.get_window_extent(canvas.get_renderer())):
            # In points from the diamond's middle: its half width, and the usual distance.
            label.xy, label.xyann = (published, height), (DIAMOND * 72 / figure.dpi + 3, 0)


def _put(label: Annotation, distance: float, angle: float) -> None:
    x, y = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    label.xyann = (distance * x, distance * y)
    label.set_horizontalalignment("center" if abs(x) < 0.1 else "left" if x > 0 else "right")
    label.set_verticalalignment("center" if abs(y) < 0.1 else "bottom" if y > 0 else "top")


def _overlap(box: Bbox, others: Sequence[Bbox]) -> float:
    """Area in square pixels that `box` shares with the others."""
    shared = (Bbox.intersection(box, other) for other in others)
    return sum(part.width * part.height for part in shared if part is not None)


def _outside(box: Bbox, frame: Bbox) -> float:
    inside = Bbox.intersection(box, frame)
    return box.width * box.height - (inside.width * inside.height if inside is not None else 0)
