"""The picture of how the rows of a board learned: hit rate and loss on training batches, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.report.board import Board
from bench.report.epochs import Epochs, Moment, epoch_points, moments
from bench.report.labels import legible
from bench.report.pictures import title

MOST_ROWS = 20
"""Lines of a panel that can be told apart; a picture of more would tell nothing."""
MOST_TRAINS = 6
"""Training sets whose panels a page has room for."""
FEWEST_EPOCHS = 2
QUANTITIES = {"hit": "hits (%)", "loss": "loss"}


def draw_epochs(board: Board, epochs: Epochs) -> Figure | None:
    """The picture of a board, two panels for each training set; a row has the same colour in all of them.

    None where there is nothing to see: single epochs, no logs, too many rows or training sets.
    """
    points = epoch_points(board, epochs)
    curves = [(row, found) for row in board.rows if len(found := moments(row, points)) >= FEWEST_EPOCHS]
    labels, trains = ([*dict.fromkeys(getattr(row, key) for row, _ in curves)] for key in ("label", "train"))
    if not 0 < len(labels) <= MOST_ROWS or len(trains) > MOST_TRAINS:
        return None
    colours = colormaps["tab10" if len(labels) <= 10 else "tab20"]
    figure = Figure(figsize=(11, 1.2 + 3.2 * len(trains)))
    panels = figure.subplots(len(trains), len(QUANTITIES), squeeze=False)
    for row, found in curves:
        for axes, quantity in zip(panels[trains.index(row.train)], QUANTITIES, strict=True):
            _draw_curve(axes, found, quantity, legible(row.label), colours(labels.index(row.label)))
    for train, pair in zip(trains, panels, strict=True):
        for axes, label in zip(pair, QUANTITIES.values(), strict=True):
            axes.set_title(f"trained on {board.train_title(train)}" if len(trains) > 1 else "", fontsize=10)
            axes.set_xlabel("steps of training")
            axes.set_ylabel(f"{label}, mean of an epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_ylim(bottom=0)
            axes.grid(color="#e3e3e3")
            axes.spines[["top", "right"]].set_visible(False)
    text, colour = title(board, "learning on training batches", speeds=False)
    heading = 0.35 + 0.2 * text.count("\n")
    figure.tight_layout(rect=(0, 0, 1, 1 - heading / figure.get_figheight()))
    figure.suptitle(text, x=0.02, y=0.99, ha="left", va="top", fontsize=10.5, color=colour)
    named = {name: line for axes in panels[:, 1] for line, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    shown = [legible(label) for label in labels]
    panels[0, 1].legend(
        [named[name] for name in shown], shown, loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, fontsize=9
    )
    return figure


def _draw_curve(axes: Axes, found: Sequence[Moment], quantity: str, name: str, colour: tuple[float, ...]) -> None:
    steps = [moment.steps for moment in found]
    means, lows, highs = zip(*(getattr(moment, quantity) for moment in found), strict=True)
    axes.plot(steps, means, color=colour, marker="o", markersize=3, linewidth=1.4, label=name)
    if lows != highs:
        axes.fill_between(steps, lows, highs, color=colour, alpha=0.12, linewidth=0)
