"""Pictures of a board: accuracy by row, and accuracy against cost.

Drawn without pyplot, and so without a screen, a backend or settings of the person's own.
"""

from __future__ import annotations

import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from bench.report.board import SET_TITLES, Board, Row
from bench.report.columns import MACC, PAIR_RATE, PER_TEST, TIME, Quantity, Summary, summarise
from bench.report.labels import Dot, legible, place_labels
from bench.report.layout import banner
from bench.report.notes import device

SUFFIXES = (".png", ".pdf")
TITLE_WIDTH = 110
"""Characters of a title's line."""
COLOURS = {"study": "#4878a8", "outside": "#d1853c", "published": "#c0392b"}
LINES = {"chance": ("#555555", "--"), "pixels (cosine)": ("#7a5195", ":")}


@dataclass(frozen=True)
class Headline:
    """The one accuracy that a board's pictures show: mAcc, or mAP where no row was tested on all its test sets."""

    title: str
    tests: tuple[str, ...] = ()
    """Test sets that mAP is averaged over; none for mAcc."""

    def summary(self, row: Row) -> Summary | None:
        """The accuracy of a row in percent."""
        if not self.tests:
            return row.summary(MACC)
        found = [row.summary(PER_TEST[1], test) for test in self.tests]
        means = [summary.mean for summary in found if summary is not None]
        return summarise(PER_TEST[1], [statistics.fmean(means)]) if len(means) == len(self.tests) else None

    def published(self, row: Row) -> float | None:
        """The printed mAcc of a row; a mean of printed values is never made."""
        return row.published.value(MACC.key) if row.published and not self.tests else None


def draw(board: Board) -> dict[str, bytes]:
    """The board's pictures by the name of their file; none for fewer than two measured rows."""
    headline = _headline(board)
    rows = [row for row in board.rows if headline.summary(row) is not None]
    if len(rows) < 2:
        return {}
    pictures = {}
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        # A label may hold dollar signs.
        matplotlib.rcParams["text.parse_math"] = False
        made = {"accuracy": _bars(board, rows, headline), "tradeoff": _tradeoff(board, rows, headline)}
        for kind, figure in made.items():
            for suffix in SUFFIXES:
                content = io.BytesIO()
                dates = {"CreationDate": None} if suffix == ".pdf" else {}
                figure.savefig(content, format=suffix[1:], dpi=150, bbox_inches="tight", metadata=dates)
                pictures[f"{board.slug}-{kind}{suffix}"] = content.getvalue()
    return pictures


def _headline(board: Board) -> Headline:
    if any(row.summary(MACC) for row in board.rows):
        return Headline("mAcc (%)")
    measured = [{test for test in board.tests if row.results(test)} for row in board.rows]
    common = set.intersection(*filter(None, measured)) if any(measured) else set()
    tests = tuple(test for test in board.tests if test in common)
    return Headline(f"mAP (%), {' and '.join(SET_TITLES[test] for test in tests)}", tests)


def _bars(board: Board, rows: Sequence[Row], headline: Headline) -> Figure:
    names = [legible(board.name_of(row)) for row in rows]
    lines = max(name.count("\n") + 1 for name in names)
    figure = Figure(figsize=(8, 1.6 + max(0.42, 0.2 * lines) * len(rows)))
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    for position, row in enumerate(rows):
        summary = headline.summary(row)
        axes.barh(position, summary.mean, color=COLOURS[row.kind], height=0.62)
        if summary.spread is not None:
            axes.errorbar(summary.mean, position, xerr=summary.spread, color="black", capsize=3, linewidth=1.2)
        edge = summary.mean + (summary.spread or 0)
        axes.annotate(
            f"{summary.mean:.1f}", (edge, position), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9
        )
    published = [(value, at) for at, row in enumerate(rows) if (value := headline.published(row)) is not None]
    if published:
        axes.scatter(
            *zip(*published, strict=True),
            marker="D",
            s=34,
            facecolors="white",
            zorder=5,
            edgecolors=COLOURS["published"],
        )
    _level_lines(board, headline, axes)
    axes.set_yticks(range(len(rows)), names)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.margins(x=0.08)
    axes.set_xlabel(headline.title)
    axes.grid(axis="x", color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
    _legend(axes, rows, bool(published))
    title, colour = _title(board, "accuracy", speeds=False)
    axes.set_title(title, loc="left", fontsize=10.5, color=colour)
    return figure


def _level_lines(board: Board, headline: Headline, axes: Axes) -> None:
    """Chance and pixels, where the rows share their test sets and so the levels."""
    if len(board.trains) > 1:
        return
    for row in board.levels():
        summary = headline.summary(row)
        if summary is not None and set(row.tests) <= set(board.tests):
            colour, style = LINES[row.label]
            axes.axvline(summary.mean, color=colour, linestyle=style, linewidth=1.4, label=row.label)


def _legend(axes: Axes, rows: Sequence[Row], published: bool) -> None:
    handles, _ = axes.get_legend_handles_labels()
    named = [Patch(color=COLOURS["study"], label="measured")]
    if any(row.kind == "outside" for row in rows):
        named.append(Patch(color=COLOURS["outside"], label="measured, not in the paper"))
    if published:
        named.append(
            Line2D([], [], marker="D", linestyle="", markerfacecolor="white", color=COLOURS["published"], label="paper")
        )
    axes.legend(handles=[*named, *handles], loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)


def _tradeoff(board: Board, rows: Sequence[Row], headline: Headline) -> Figure:
    figure = Figure(figsize=(12, 5))
    left, right = figure.subplots(1, 2, sharey=True)
    rates = _scatter(board, rows, headline, PAIR_RATE, left, "pairs matched per second (more is better)")
    means = [summary.mean for row in rows if (summary := row.summary(TIME)) is not None]
    factor, unit = TIME.scale(means)
    times = _scatter(board, rows, headline, TIME, right, f"training time in {unit} (less is better)", factor)
    left.set_ylabel(headline.title)
    title, colour = _title(board, "accuracy against cost", speeds=True)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.04 * max(3, title.count("\n") + 1)))
    figure.suptitle(title, x=0.06, ha="left", fontsize=10.5, color=colour)
    for axes, dots in ((left, rates), (right, times)):
        place_labels(figure, axes, dots)
    return figure


def _scatter(
    board: Board, rows: Sequence[Row], headline: Headline, cost: Quantity, axes: Axes, title: str, factor: float = 1
) -> list[Dot]:
    axes.set_axisbelow(True)
    axes.grid(color="#e3e3e3")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(title)
    points = [(row, row.summary(cost), headline.summary(row)) for row in rows]
    points = [(row, paid.mean / factor, gained) for row, paid, gained in points if paid is not None and paid.mean > 0]
    for row, x, gained in points:
        axes.errorbar(x, gained.mean, yerr=gained.spread, fmt="o", color=COLOURS[row.kind], markersize=6, capsize=2)
    if points:
        lowest, highest = min(x for _, x, _ in points), max(x for _, x, _ in points)
        axes.set_xscale("log")
        axes.set_xlim(lowest / 2, highest * 2)
        axes.margins(y=0.15)
        # Within few decades the powers of ten alone are too few ticks.
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if highest < 100 * lowest else (1,)))
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}" if x < 1000 else EngFormatter(sep="")(x))
        axes.xaxis.set_minor_formatter(NullFormatter())
    return [Dot(legible(board.name_of(row)), x, gained.mean, gained.spread or 0.0) for row, x, gained in points]


def _title(board: Board, what: str, speeds: bool) -> tuple[str, str]:
    """The title's text and colour; where speeds are shown, it warns of devices that cannot be compared."""
    trains = "" if len(board.trains) > 1 else f", trained on {SET_TITLES[board.trains[0]]}"
    lines = [f"{board.study.title}: {what}", f"{board.setting.title}{trains}"]
    if speeds and len({device(record) for row in board.rows for record in row.records}) > 1:
        lines.append("made on different devices, whose speeds cannot be compared: see the notes of the tables")
    warning = banner(board)
    if warning:
        lines.append(f"{warning.partition(':')[0]}: not comparable with the paper")
    text = "\n".join(legible(line, TITLE_WIDTH) for line in lines)
    return text, "#a02020" if warning else "black"
