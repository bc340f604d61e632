"""The frontier picture of shortlists: accuracy against queries a second, a line for each head."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, NullFormatter

from bench.journal.shortlists import NOTHING_LOST, ShortlistRecord
from bench.report.labels import legible
from bench.report.model import PICTURES
from bench.report.pictures import TITLE_WIDTH, files_of
from bench.report.shortlist import banner, names, slug, title

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")


def draw_shortlists(
    group: Sequence[ShortlistRecord], suffixes: Sequence[str] = PICTURES["figures"]
) -> dict[str, bytes]:
    """The picture of records that `groups` put together, by the name of its file, as these kinds."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        # A label may hold dollar signs.
        matplotlib.rcParams["text.parse_math"] = False
        return files_of(_frontier(group), slug(group), suffixes)


def _frontier(group: Sequence[ShortlistRecord]) -> Figure:
    figure = Figure(figsize=(10.5, 5.6))
    axes = figure.add_subplot()
    handles = []
    for number, (record, name) in enumerate(zip(group, names(group), strict=True)):
        colour, marker = f"C{number % 10}", MARKERS[number % len(MARKERS)]
        speeds = [point.queries_per_second for point in record.curve]
        accuracies = [100 * point.mAP for point in record.curve]
        axes.plot(speeds, accuracies, color=colour, marker=marker, markersize=4, linewidth=1.4)
        kept = record.lossless
        ring = {"s": 130, "facecolors": "none", "edgecolors": colour, "linewidths": 1.5, "zorder": 4}
        axes.scatter(kept.queries_per_second, 100 * kept.mAP, **ring)
        label = f"{legible(name)}\nn = {kept.length:,}{' (all)' if kept is record.points[-1] else ''}"
        handles.append(Line2D([], [], color=colour, marker=marker, markersize=5, label=label))
    alone = group[0].alone
    axes.scatter(alone.queries_per_second, 100 * alone.mAP, marker="*", s=150, color="black", zorder=5)
    handles.append(
        Line2D([], [], color="black", marker="*", linestyle="", markersize=11, label=f"{group[0].by_label} alone")
    )
    ring_handle = {"marker": "o", "markersize": 11, "markerfacecolor": "none", "linestyle": "", "color": "#555555"}
    meaning = f"from this n on no mAP is more\nthan {100 * NOTHING_LOST:g} points below that of all"
    handles.append(Line2D([], [], label=meaning, **ring_handle))
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("queries a second, one at a time (more is better); shorter lists to the right")
    axes.set_ylabel("mAP (%)")
    axes.grid(color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8.5)
    warning = banner(group)
    lines = [title(group), *([warning] if warning else [])]
    text = "\n".join(legible(line, TITLE_WIDTH) for line in lines)
    axes.set_title(text, loc="left", fontsize=9.5, color="#a02020" if warning else "black")
    return figure
