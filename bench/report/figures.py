"""Pictures of a board: accuracy by row, and accuracy against cost.

Drawn without pyplot, and so without a screen, a backend or settings of the person's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from bench.report.board import Board, Row
from bench.report.columns import PAIR_RATE, TIME, Quantity
from bench.report.curve_pictures import draw_curves
from bench.report.differences import differences
from bench.report.epoch_pictures import draw_epochs
from bench.report.epochs import Epochs
from bench.report.labels import Dot, legible, place_labels, write_values
from bench.report.learning_pictures import draw_learning
from bench.report.model import PICTURES
from bench.report.pictures import COLOURS, TITLE_WIDTH, Headline, files_of, headline, title
from bench.report.titles import source_title

MOST_NAMES = 14
"""Names that a pair of panels has room for."""
LINES = {"chance": ("#555555", "--"), "pixels (cosine)": ("#7a5195", ":")}


def draw(board: Board, suffixes: Sequence[str] = PICTURES["figures"], epochs: Epochs | None = None) -> dict[str, bytes]:
    """The board's pictures by the name of their file, each as these kinds.

    Rows are compared from two measured ones on, with what their runs noted of their `epochs`, where these are several;
    how they learned is drawn of those that were looked at meanwhile.
    """
    shown = headline(board)
    rows = [row for row in board.rows if shown.summary(row) is not None]
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        # A label may hold dollar signs.
        matplotlib.rcParams["text.parse_math"] = False
        made: dict[str, Figure] = {}
        if len(rows) > 1 and board.study.layout == "curves":
            made = {"curves": draw_curves(board, shown)}
        elif len(rows) > 1:
            made = {"accuracy": _bars(board, rows, shown), "tradeoff": _tradeoff(board, rows, shown)}
            if (by_epoch := draw_epochs(board, epochs or {})) is not None:
                made["epochs"] = by_epoch
        if (learned := draw_learning(board)) is not None:
            made["learning"] = learned
        return {
            name: content
            for kind, figure in made.items()
            for name, content in files_of(figure, f"{board.slug}-{kind}", suffixes).items()
        }


def _bars(board: Board, rows: Sequence[Row], shown: Headline) -> Figure:
    names = [legible(board.name_of(row)) for row in rows]
    lines = max(name.count("\n") + 1 for name in names)
    figure = Figure(figsize=(8, 1.6 + max(0.42, 0.2 * lines) * len(rows)))
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    for position, row in enumerate(rows):
        mean = shown.summary(row).mean
        below, above = _interval(board, row, mean)
        axes.barh(position, mean, color=COLOURS[row.kind], height=0.62)
        if below or above:
            axes.errorbar(mean, position, xerr=[[below], [above]], color="black", capsize=3, linewidth=1.2)
    published = [(value, at) for at, row in enumerate(rows) if (value := shown.published(row)) is not None]
    if published:
        axes.scatter(
            *zip(*published, strict=True),
            marker="D",
            s=34,
            facecolors="white",
            zorder=5,
            edgecolors=COLOURS["published"],
        )
    _level_lines(board, shown, axes)
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.margins(x=0.08)
    axes.set_xlabel(shown.title)
    axes.grid(axis="x", color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
    _legend(board, axes, rows, bool(published))
    text, colour = title(board, "accuracy", speeds=False)
    axes.set_title(text, loc="left", fontsize=10.5, color=colour)
    ends = []
    for row in rows:
        mean = shown.summary(row).mean
        ends.append((mean, mean + _interval(board, row, mean)[1], shown.published(row)))
    write_values(figure, axes, ends)
    return figure


def _interval(board: Board, row: Row, mean: float) -> tuple[float, float]:
    """How far the 95 % interval of a row reaches below and above its mean; nothing for records without persons."""
    found = differences(board).of_row(row)
    if found is None or not found.headline:
        return 0.0, 0.0
    whole = found.headline[-1]
    return max(0.0, mean - whole.low), max(0.0, whole.high - mean)


def _bar_meaning(board: Board) -> str:
    """What the error bars of a board's pictures are, "" where it has none."""
    rows = [row for row in differences(board).rows if row.headline]
    if not rows:
        return ""
    several = any(len(row.headline[-1].seeds) > 1 for row in rows)
    return "95 % interval: persons\nand trainings (seeds)" if several else "95 % interval: persons\n(one training)"


def _level_lines(board: Board, shown: Headline, axes: Axes) -> None:
    """Chance and pixels, where the rows share their test sets and so the levels."""
    if len(board.trains) > 1:
        return
    for row in board.levels():
        summary = shown.summary(row)
        if summary is not None and set(row.tests) <= set(board.tests):
            colour, style = LINES[row.label]
            axes.axvline(summary.mean, color=colour, linestyle=style, linewidth=1.4, label=row.label)


def _legend(board: Board, axes: Axes, rows: Sequence[Row], published: bool) -> None:
    handles, _ = axes.get_legend_handles_labels()
    named = [Patch(color=COLOURS["study"], label="measured")]
    if any(row.kind == "outside" for row in rows):
        named.append(Patch(color=COLOURS["outside"], label="measured, not in the paper"))
    if published:
        named.append(
            Line2D([], [], marker="D", linestyle="", markerfacecolor="white", color=COLOURS["published"], label="paper")
        )
    if meaning := _bar_meaning(board):
        named.append(Line2D([], [], marker="|", markersize=8, color="black", linewidth=1.2, label=meaning))
    axes.legend(handles=[*named, *handles], loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)


def _tradeoff(board: Board, rows: Sequence[Row], shown: Headline) -> Figure:
    groups = _groups(board, rows)
    height = 0.8 + 4.2 * len(groups)
    figure = Figure(figsize=(12, height))
    grid = figure.subplots(len(groups), 2, sharey="row", squeeze=False)
    means = [summary.mean for row in rows if (summary := row.summary(TIME)) is not None]
    factor, unit = TIME.scale(means)
    dots = []
    for (left, right), (train, own) in zip(grid, groups.items(), strict=True):
        names = [legible(row.label if train else board.name_of(row)) for row in own]
        dots.append(
            (left, _scatter(board, own, names, shown, PAIR_RATE, left, "pairs matched per second (more is better)"))
        )
        time = f"training time in {unit} (less is better)"
        dots.append((right, _scatter(board, own, names, shown, TIME, right, time, factor)))
        meaning = _bar_meaning(board).replace("\n", " ")
        left.set_ylabel("\n".join(filter(None, [shown.title, meaning])))
        if train:
            left.set_title(f"trained on {legible(source_title(train), TITLE_WIDTH)}", loc="left", fontsize=10)
    text, colour = title(board, "accuracy against cost", speeds=True)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.2 * max(3, text.count("\n") + 1) / height))
    figure.suptitle(text, x=0.06, y=1 - 0.1 / height, va="top", ha="left", fontsize=10.5, color=colour)
    for axes, own_dots in dots:
        place_labels(figure, axes, own_dots)
    return figure


def _groups(board: Board, rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows that share a pair of panels: all, or where their names would not fit those of each training set."""
    if len(board.trains) < 2 or len(rows) <= MOST_NAMES:
        return {"": list(rows)}
    groups = {train: [row for row in rows if row.train == train] for train in board.trains}
    return {train: own for train, own in groups.items() if own}


def _scatter(
    board: Board,
    rows: Sequence[Row],
    names: Sequence[str],
    shown: Headline,
    cost: Quantity,
    axes: Axes,
    label: str,
    factor: float = 1,
) -> list[Dot]:
    axes.set_axisbelow(True)
    axes.grid(color="#e3e3e3")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(label)
    found = [(row, name, row.summary(cost), shown.summary(row)) for row, name in zip(rows, names, strict=True)]
    points = [
        (row, name, paid.mean / factor, gained)
        for row, name, paid, gained in found
        if paid is not None and paid.mean > 0
    ]
    reach = {id(row): _interval(board, row, gained.mean) for row, _, _, gained in points}
    for row, _, x, gained in points:
        ends = [[end] for end in reach[id(row)]]
        axes.errorbar(x, gained.mean, yerr=ends, fmt="o", color=COLOURS[row.kind], markersize=6, capsize=2)
    if points:
        lowest, highest = min(x for _, _, x, _ in points), max(x for _, _, x, _ in points)
        axes.set_xscale("log")
        axes.set_xlim(lowest / 2, highest * 2)
        axes.margins(y=0.15)
        # Within few decades the powers of ten alone are too few ticks.
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if highest < 100 * lowest else (1,)))
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}" if x < 1000 else EngFormatter(sep="")(x))
        axes.xaxis.set_minor_formatter(NullFormatter())
    return [Dot(name, x, gained.mean, *reach[id(row)]) for row, name, x, gained in points]
