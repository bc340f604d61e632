"""The picture of how the rows of a board learned: hit rate and loss on training batches, epoch by epoch."""

from __future__ import annotations

from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.report.board import Board
from bench.report.epochs import Epochs, epoch_points, moments
from bench.report.labels import legible
from bench.report.pictures import title

MOST_ROWS = 20
"""Lines that can be told apart; a picture of more would tell nothing."""
FEWEST_EPOCHS = 2


def draw_epochs(board: Board, epochs: Epochs) -> Figure | None:
    """The picture of a board; None where there is nothing to see: single epochs, no logs, too many rows."""
    points = epoch_points(board, epochs)
    curves = [(board.name_of(row), moments(row, points)) for row in board.rows]
    curves = [(name, found) for name, found in curves if len(found) >= FEWEST_EPOCHS]
    if not 0 < len(curves) <= MOST_ROWS:
        return None
    figure = Figure(figsize=(11, 4.4))
    panels = figure.subplots(1, 2)
    colours = colormaps["tab10" if len(curves) <= 10 else "tab20"]
    for at, (name, found) in enumerate(curves):
        steps = [moment.steps for moment in found]
        for axes, values in zip(panels, ([item.hit for item in found], [item.loss for item in found]), strict=True):
            means, lows, highs = zip(*values, strict=True)
            axes.plot(steps, means, color=colours(at), marker="o", markersize=3, linewidth=1.4, label=legible(name))
            if lows != highs:
                axes.fill_between(steps, lows, highs, color=colours(at), alpha=0.12, linewidth=0)
    for axes, label in zip(panels, ("hits (%)", "loss"), strict=True):
        axes.set_xlabel("steps of training")
        axes.set_ylabel(f"{label}, mean of an epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=0)
        axes.grid(color="#e3e3e3")
        axes.spines[["top", "right"]].set_visible(False)
    text, colour = title(board, "learning on training batches", speeds=False)
    figure.tight_layout(rect=(0, 0, 1, 0.9 - 0.045 * text.count("\n")))
    figure.suptitle(text, x=0.02, y=0.99, ha="left", va="top", fontsize=10.5, color=colour)
    panels[1].legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)
    return figure
