"""The page as a whole: what is on it, and how it is kept to its size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from bench.journal.record import Record
from bench.report.board import Board
from bench.report.page.cameras import camera_matrices
from bench.report.page.explorer import TestShown, shown_tests
from bench.report.page.options import MOST_QUERIES, PageOptions
from bench.report.page.pairs import NOT_ASKED, HeadMatches
from bench.report.page.render import as_script_data, render
from bench.report.page.sections import Section, runs_grid, runs_of
from bench.report.page.shown import Shelf, test_data
from bench.report.page.thumbnails import Thumbnails
from bench.study.definition import data_root
from bench.study.testing_again import lists_lacking

MEGABYTE = 1_000_000
MOST_REMARKS = 5
"""Runs without lists that are named; of more their number is said."""
PERSONS = "It holds pictures of people: pass it on only as their data sets' terms allow."


@dataclass(frozen=True)
class PageContent:
    """What a page is made of: the report's lines, its sections and the boards behind them."""

    head: Sequence[str]
    warnings: Sequence[str]
    sections: Sequence[Section]
    boards: Sequence[Board]


class Page(NamedTuple):
    """The file; what it had to do without, one sentence each; and why there is no file, if there is none."""

    html: bytes | None
    remarks: tuple[str, ...]
    fault: tuple[str, ...] = ()


def make_page(content: PageContent, results: Path, options: PageOptions) -> Page:
    """The page of a report on the runs below `results`.

    Where no number of queries is asked for, as many are shown as fit. Raises UserError for a device that is not there.
    """
    tests, lacking = shown_tests(content.boards, results)
    remarks = _without_lists(lacking, results, options.data_dir)
    roots = [data_root(options.data_dir, test.setting.loaded_preset) for test in tests]
    most = options.queries or MOST_QUERIES
    matches = [[NOT_ASKED] * len(test.heads) for test in tests]
    if options.matches and tests:
        # Computing them needs torch, which tables and ranked lists do not.
        from bench.report.page.local_matches import matches_of

        matches = [
            matches_of(test, test.ordered[:most], root, results, options.device)
            for test, root in zip(tests, roots, strict=True)
        ]
    thumbnails = Thumbnails() if options.images == "thumbnails" else None
    draft = _Draft(content, tests, roots, matches, thumbnails, len(lacking))
    html, parts = draft.with_queries(most)
    limit = int(options.megabytes * MEGABYTE)
    if len(html) > limit and options.queries is None:
        fixed = len(html) - parts["pictures"] - parts["lists"]
        while len(html) > limit and most > 1 and fixed < limit:
            most = max(1, min(most - 1, math.floor(0.98 * most * (limit - fixed) / (len(html) - fixed))))
            html, parts = draft.with_queries(most)
    remarks += draft.remarks(options.data_dir)
    if len(html) > limit:
        return Page(None, tuple(remarks), (_too_large(len(html), parts, options),))
    return Page(html, tuple(remarks))


def _without_lists(records: Sequence[Record], results: Path, data_dir: Path) -> list[str]:
    """How to get the lists of the first runs that have none, and how many more there are."""
    told = lists_lacking(records[:MOST_REMARKS], results, data_dir)
    more = len(records) - MOST_REMARKS
    return [*told, *([f"{_counted(more, 'more run')} without ranked lists"] if more > 0 else [])]


class _Draft:
    """A page whose number of queries is still open. Thumbnails and matches are made once for all numbers."""

    def __init__(
        self,
        content: PageContent,
        tests: Sequence[TestShown],
        roots: Sequence[Path],
        matches: Sequence[Sequence[HeadMatches]],
        thumbnails: Thumbnails | None,
        lacking: int,
    ) -> None:
        self._content = content
        self._tests = tests
        self._roots = roots
        self._matches = matches
        self._thumbnails = thumbnails
        self._lacking = lacking

    def with_queries(self, most: int) -> tuple[bytes, dict[str, int]]:
        """The page with so many queries of each test set, and the bytes that its parts take."""
        shelf = Shelf(self._thumbnails)
        shown = [
            test_data(test, test.ordered[:most], root, shelf, matches)
            for test, root, matches in zip(self._tests, self._roots, self._matches, strict=True)
        ]
        data = {"tests": shown, "thumbnails": shelf.stored}
        explorer = {
            "matches": any(head.by_pair for heads in self._matches for head in heads),
            "counts": [*(_count(test, most) for test in self._tests), *self._not_shown(shelf)],
            "cameras": [matrix for number, test in enumerate(self._tests) for matrix in camera_matrices(number, test)],
        }
        html = render(
            {
                "head": self._content.head,
                "warnings": self._content.warnings,
                "sections": self._content.sections,
                "explorer": explorer if self._tests else None,
                "provenance": runs_grid(runs_of(self._content.boards)),
                "footer": _footer(bool(shelf.stored)),
            },
            data,
        )
        parts = {"pictures": sum(map(len, shelf.stored)), "lists": len(as_script_data(shown).encode())}
        return html, parts

    def remarks(self, data_dir: Path) -> list[str]:
        """What is to be said of pictures that could not be read."""
        gone = self._thumbnails.gone if self._thumbnails else {}
        if not gone:
            return []
        if not data_dir.is_dir():
            return [
                f"there is no folder {data_dir}, so the page shows frames with names instead of pictures; "
                "say where the data sets are with --data-dir, or ask for no pictures with --images none"
            ]
        first = next(iter(gone.values()))
        return [f"the page shows frames with names instead of {_counted(len(gone), 'picture')}; the first: {first}"]

    def _not_shown(self, shelf: Shelf) -> list[str]:
        """What the ranked lists on the page have to do without."""
        told = []
        if self._lacking:
            told.append(f"Not here for want of ranked lists: {_counted(self._lacking, 'run')}, in part or whole.")
        if shelf.missing:
            count = _counted(len(shelf.missing), "picture")
            told.append(f"{count} could not be read when this page was made; frames with names stand for them.")
        return told


def _count(test: TestShown, most: int) -> str:
    """How many queries of a test set are shown, and of which seeds."""
    total = len(test.queries)
    shown = min(most, total)
    seeds = sorted({head.record.config.seed for head in test.heads})
    which = (
        f"all {total:,} queries"
        if shown == total
        else f"{shown:,} of {total:,} queries, chosen in turn for disagreement, low average precision and confident "
        f"mistakes; {total - shown:,} left out"
    )
    split = ", first split" if test.heads[0].result.splits else ""
    each = f"seed {seeds[0]}" if len(seeds) == 1 else "its first seed with lists"
    return f"{test.title}{split}: {which}. Each row is shown by {each}."


def _footer(pictures: bool) -> str:
    made = f"Made by pairbench {version('pairbench')}. This file asks for nothing outside itself."
    return f"{made} {PERSONS}" if pictures else made


def _too_large(size: int, parts: dict[str, int], options: PageOptions) -> str:
    rest = size - sum(parts.values())
    told = ", ".join(f"{name} {count / MEGABYTE:.1f}" for name, count in {"tables and figures": rest, **parts}.items())
    needed = math.ceil(10 * size / MEGABYTE) / 10
    return (
        f"the page is not written: it would take {needed:g} MB ({told}), and {options.megabytes:g} were asked for; "
        "show fewer queries (--page-queries), no pictures (--images none), no local matches (without --matches) or "
        f"fewer tables (--study), or allow more (--page-mb {needed:g})"
    )


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
