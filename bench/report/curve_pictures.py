"""Pictures of layout "curves": for each swept size a panel with accuracy and training time on two axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.report.board import Board, Row
from bench.report.columns import TIME, Summary
from bench.report.curves import Curve, Panel, panels
from bench.report.labels import legible
from bench.report.pictures import COLOURS, Headline, title
from bench.report.published import HOUR

ACCURACY, SECONDS = "#1f5a91", "#8a8a8a"
STYLES = ("-", "--", ":", "-.")
"""Of the first, second, ... curve of a panel."""
FARTHEST = 3
"""A published time is drawn if it is at most so many times as long or as short as the measured ones."""


def draw_curves(board: Board, shown: Headline) -> Figure:
    """The picture of a board: its panels side by side, two in a line."""
    made = panels(board)
    across = min(2, len(made))
    down = math.ceil(len(made) / across)
    figure = Figure(figsize=(5.4 * across + (1.6 if across == 1 else 0), 3.1 * down + 1.5))
    grid = figure.subplots(down, across, squeeze=False).flatten()
    times = [summary.mean for panel in made for row in _rows(panel) if (summary := row.summary(TIME)) is not None]
    factor, unit = TIME.scale(times)
    far = []
    for panel, axes in zip(made, grid, strict=False):
        right = axes.twinx()
        _accuracies(panel, shown, axes)
        far += _times(panel, factor, times, right)
        # The time's lines lie below those of accuracy.
        axes.set_zorder(right.get_zorder() + 1)
        axes.patch.set_visible(False)
        _dress(panel, axes, right, shown, f"training time ({unit})")
    for axes in grid[len(made) :]:
        axes.set_visible(False)
    text, colour = title(board, "", speeds=True)
    lines = text.count("\n") + 1
    height = figure.get_figheight()
    handles = _legend(made, shown, far)
    columns = 2 if len(handles) > 3 else len(handles)
    below = 0.2 * math.ceil(len(handles) / columns) + 0.1
    figure.tight_layout(rect=(0, below / height, 1, 1 - (0.2 * lines + 0.15) / height), h_pad=2)
    figure.suptitle(text, x=0.02, y=1 - 0.08 / height, ha="left", va="top", fontsize=10.5, color=colour)
    figure.legend(handles=handles, loc="lower center", ncols=columns, frameon=False, fontsize=9)
    return figure


def _rows(panel: Panel) -> list[Row]:
    return [row for curve in panel.curves for _, row in curve.points]


def _accuracies(panel: Panel, shown: Headline, axes: Axes) -> None:
    places = {value: place for place, value in enumerate(panel.values)}
    for curve, style in zip(panel.curves, STYLES, strict=False):
        points = [(places[value], summary) for value, row in curve.points if (summary := shown.summary(row))]
        _line(axes, points, ACCURACY, style, "o")
        default = [(place, summary.mean) for place, summary in points if place == places[curve.default]]
        if default:
            axes.scatter(*zip(*default, strict=True), s=150, facecolors="none", edgecolors=ACCURACY, linewidths=1.5)
        printed = [(places[value], number) for value, row in curve.points if (number := shown.published(row))]
        if printed:
            axes.scatter(*zip(*printed, strict=True), **_diamond(), zorder=5)


def _times(panel: Panel, factor: float, measured: Sequence[float], axes: Axes) -> list[float]:
    """Draw the times of a panel. Returns the published ones, in seconds, that lie too far away to be drawn."""
    places = {value: place for place, value in enumerate(panel.values)}
    far = []
    for curve, style in zip(panel.curves, STYLES, strict=False):
        points = [(places[value], summary) for value, row in curve.points if (summary := row.summary(TIME))]
        _line(axes, points, SECONDS, style, "s", factor)
        for place, seconds in _published_times(curve, places):
            if measured and min(measured) / FARTHEST <= seconds <= max(measured) * FARTHEST:
                axes.scatter(place, seconds / factor, **(_diamond() | {"marker": "s"}), zorder=4)
            else:
                far.append(seconds)
    return far


def _published_times(curve: Curve, places: dict[float, int]) -> list[tuple[int, float]]:
    found = [(places[value], row.published.value(TIME.key)) for value, row in curve.points if row.published]
    return [(place, seconds) for place, seconds in found if seconds is not None]


def _line(
    axes: Axes, points: Sequence[tuple[int, Summary]], colour: str, style: str, marker: str, factor: float = 1
) -> None:
    if not points:
        return
    places = [place for place, _ in points]
    means = [summary.mean / factor for _, summary in points]
    spreads = [(summary.spread or 0) / factor for _, summary in points]
    axes.errorbar(
        places, means, spreads, color=colour, linestyle=style, marker=marker, markersize=5, capsize=2, linewidth=1.4
    )


def _dress(panel: Panel, left: Axes, right: Axes, shown: Headline, time: str) -> None:
    """Ticks, labels and limits: values of the swept size stand at equal distances."""
    left.set_xticks(range(len(panel.values)), [f"{value:g}" for value in panel.values])
    left.set_xlim(-0.4, len(panel.values) - 0.6)
    left.set_xlabel(panel.symbol, fontsize=11)
    left.set_ylabel(legible(shown.title), color=ACCURACY)
    right.set_ylabel(time, color="#666666")
    left.margins(y=0.18)
    right.set_ylim(0, 1.18 * right.dataLim.y1 if right.has_data() else 1)
    for axes in (left, right):
        axes.spines["top"].set_visible(False)


def _diamond() -> dict[str, object]:
    return {"marker": "D", "s": 34, "facecolors": "white", "edgecolors": COLOURS["published"]}


def _legend(made: Sequence[Panel], shown: Headline, far: Sequence[float]) -> list[Line2D]:
    """What lines and marks mean; curves beyond the first bear a prime, as in the paper."""
    names = list(dict.fromkeys(curve.name for panel in made for curve in panel.curves))
    accuracy = shown.title.partition(" (")[0]
    handles = []
    for number, (name, style) in enumerate(zip(names, STYLES, strict=False)):
        which = f" ({name})" if len(names) > 1 else ""
        for quantity, colour, marker in ((accuracy, ACCURACY, "o"), ("Time", SECONDS, "s")):
            text = legible(f"{quantity}{chr(39) * number}{which}")
            handles.append(Line2D([], [], color=colour, linestyle=style, marker=marker, markersize=5, label=text))
    ring = {"marker": "o", "markersize": 11, "markerfacecolor": "none", "linestyle": ""}
    handles.append(Line2D([], [], color=ACCURACY, label="default", **ring))
    rows = [row for panel in made for row in _rows(panel)]
    if any(shown.published(row) for row in rows):
        handles.append(_published_handle("D", f"paper, {accuracy}"))
    if len(far) < sum(row.published is not None and row.published.value(TIME.key) is not None for row in rows):
        handles.append(_published_handle("s", "paper, Time (V100)"))
    if far:
        hours = ", ".join(f"{seconds / HOUR:.2f} h" for seconds in dict.fromkeys(far))
        handles.append(_published_handle("", f"paper, Time: {hours} (V100), beyond the axis"))
    return handles


def _published_handle(marker: str, text: str) -> Line2D:
    return Line2D([], [], marker=marker, linestyle="", markerfacecolor="white", color=COLOURS["published"], label=text)
