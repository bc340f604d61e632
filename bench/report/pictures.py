"""What all pictures of boards share: the accuracy that they show, their title, their colours and their files."""

from __future__ import annotations

import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from bench.report.board import Board, Row
from bench.report.columns import MACC, PER_TEST, Summary, summarise
from bench.report.labels import legible
from bench.report.layout import banner
from bench.report.model import PICTURES
from bench.report.notes import device
from bench.report.titles import set_title, source_title

TITLE_WIDTH = 110
"""Characters of a title's line."""
COLOURS = {"study": "#4878a8", "outside": "#d1853c", "published": "#c0392b"}


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


def headline(board: Board) -> Headline:
    """The accuracy that a board's pictures show."""
    if any(row.summary(MACC) for row in board.rows):
        return Headline("mAcc (%)")
    measured = [{test for test in board.tests if row.results(test)} for row in board.rows]
    common = set.intersection(*filter(None, measured)) if any(measured) else set()
    tests = tuple(test for test in board.tests if test in common)
    return Headline(f"mAP (%), {' and '.join(set_title(test) for test in tests)}", tests)


def title(board: Board, what: str, speeds: bool) -> tuple[str, str]:
    """The title's text and colour; where speeds are shown, it warns of devices that cannot be compared."""
    trains = "" if len(board.trains) > 1 else f", trained on {source_title(board.trains[0])}"
    lines = [f"{board.study.title}: {what}" if what else board.study.title, f"{board.setting.title}{trains}"]
    if speeds and len({device(record) for row in board.rows for record in row.records}) > 1:
        lines.append("made on different devices, whose speeds cannot be compared: see the notes of the tables")
    warning = banner(board)
    if warning:
        lines.append(f"{warning.partition(':')[0]}: not comparable with the paper")
    text = "\n".join(legible(line, TITLE_WIDTH) for line in lines)
    return text, "#a02020" if warning else "black"


def files_of(figure: Figure, stem: str, suffixes: Sequence[str] = PICTURES["figures"]) -> dict[str, bytes]:
    """A picture as files by name; the same picture is the same file, whenever it is drawn."""
    files = {}
    for suffix in suffixes:
        content = io.BytesIO()
        how: dict[str, Any] = {"metadata": {"CreationDate": None}} if suffix == ".pdf" else {}
        if suffix == ".webp":
            # For screens of many pixels; without loss it takes less than a tenth of what an SVG file does.
            how = {"dpi": 200, "pil_kwargs": {"lossless": True, "method": 4}}
        figure.savefig(content, format=suffix[1:], bbox_inches="tight", **{"dpi": 150, **how})
        files[f"{stem}{suffix}"] = content.getvalue()
    return files
