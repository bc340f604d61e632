"""Pictures of how rows learned: accuracy on held-out persons, hit rate and gradient norms by step."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from bench.journal.measures import CLIP_GROUPS, Look
from bench.report.board import Board
from bench.report.labels import legible
from bench.report.learning import Learning, chance_of, learning
from bench.report.pictures import title

Reading = Callable[[Look], float | None]
"""What a panel shows of a look."""

GROUP_STYLES = dict(zip(CLIP_GROUPS, ("-", "--"), strict=True))
GREY = "#555555"


def draw_learning(board: Board) -> Figure | None:
    """Three panels with a line for each row, the mean of its seeds in a band from least to most; None without looks."""
    shown = learning(board)
    if not shown:
        return None
    # Of few rows each has a colour of its own; beyond ten they repeat.
    colours = matplotlib.colormaps["tab10"].colors
    figure = Figure(figsize=(13, 4.6))
    accuracy, hits, norms = figure.subplots(1, 3)
    for place, item in enumerate(shown):
        colour = colours[place % len(colours)]
        _line(accuracy, item, lambda look: 100 * look.held_out.mAP, colour)
        _line(hits, item, lambda look: None if look.hit is None else 100 * look.hit, colour)
        for group, style in GROUP_STYLES.items():
            _line(norms, item, lambda look, group=group: look.gradient_norms.get(group), colour, style)
    if (chance := chance_of(board)) is not None:
        accuracy.axhline(100 * chance, color=GREY, linestyle=":", label="chance")
    for clip in {item.row.config.training.clip for item in shown if item.row.config} - {None}:
        norms.axhline(clip, color=GREY, linestyle=":", label="clipped above")
    norms.set_yscale("log")
    # Labels of its own: those of a logarithmic axis are formulas, which pictures of boards do not set.
    norms.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    norms.yaxis.set_major_formatter("{x:g}")
    norms.yaxis.set_minor_formatter(NullFormatter())
    for axes, label in (
        (accuracy, "mAP on held-out training persons (%)"),
        (hits, "queries of a batch that are found (%)"),
        (norms, "gradient norm before clipping"),
    ):
        _dress(axes, label)
    text, colour = title(board, "learning", speeds=False)
    height = figure.get_figheight()
    names = [legible(board.name_of(item.row)) for item in shown]
    handles = [Line2D([], [], color=colours[place % len(colours)], label=name) for place, name in enumerate(names)] + [
        Line2D([], [], color=GREY, linestyle=style, label=f"gradient: {name}") for name, style in GROUP_STYLES.items()
    ]
    handles.append(Line2D([], [], color=GREY, linestyle=":", label="chance; where gradients are clipped"))
    below = 0.22 * -(-len(handles) // 4) + 0.1
    figure.tight_layout(rect=(0, below / height, 1, 1 - (0.2 * (text.count("\n") + 1) + 0.15) / height))
    figure.suptitle(text, x=0.02, y=1 - 0.08 / height, ha="left", va="top", fontsize=10.5, color=colour)
    figure.legend(handles=handles, loc="lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def _line(axes: Axes, item: Learning, reading: Reading, colour: Sequence[float], style: str = "-") -> None:
    points = []
    for step in item.steps:
        values = [value for look in item.at(step) if (value := reading(look)) is not None]
        if values:
            points.append((step, statistics.fmean(values), min(values), max(values)))
    if not points:
        return
    steps, means, least, most = zip(*points, strict=True)
    axes.plot(steps, means, color=colour, linestyle=style, linewidth=1.4, marker=".", markersize=4)
    if any(low < high for low, high in zip(least, most, strict=True)):
        axes.fill_between(steps, least, most, color=colour, alpha=0.15, linewidth=0)


def _dress(axes: Axes, label: str) -> None:
    axes.set_xlabel("steps")
    axes.set_ylabel(label)
    axes.set_axisbelow(True)
    axes.grid(color="#e3e3e3")
    axes.spines[["top", "right"]].set_visible(False)
