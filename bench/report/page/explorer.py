"""The ranked lists of runs on one test set side by side: which runs, and which of their queries are worth a look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bench.journal.lists import RankedLists, lists_of
from bench.journal.reading import Unreadable
from bench.journal.record import Record, TestResult
from bench.report.board import Board, Row, Setting
from bench.report.titles import set_title, source_title


@dataclass(frozen=True)
class TestedHead:
    """A run with its lists of one test set."""

    row: Row
    record: Record
    result: TestResult
    lists: RankedLists

    @cached_property
    def queries(self) -> list[int]:
        """Positions of the queries that have a list."""
        return self.lists.queries.tolist()

    @cached_property
    def measured(self) -> dict[int, tuple[float, int]]:
        """Average precision and rank of the first right image by the query's position; of a small set, in split 0."""
        result = self.result
        count = result.splits[0].queries if result.splits else len(result.query_index)
        values = zip(result.average_precision[:count], result.first_rank[:count], strict=True)
        return dict(zip(result.query_index[:count], values, strict=True))

    @cached_property
    def confidence(self) -> dict[int, float]:
        """Of the queries whose nearest image is wrong: the share of all whose first score is lower.

        A head's scores mean nothing beside another's, but their order does.
        """
        lists = self.lists
        nearest = np.flatnonzero(lists.rank == 1)
        scores = lists.score[nearest]
        below = np.searchsorted(np.sort(scores), scores) / max(1, len(scores))
        wrong = lists.gallery_person[lists.gallery[nearest]] != lists.query_person[lists.queries]
        return {
            query: float(share) for query, share, is_wrong in zip(self.queries, below, wrong, strict=True) if is_wrong
        }


@dataclass(frozen=True)
class TestShown:
    """One test set of one setting, with all runs whose lists are shown beside one another."""

    setting: Setting
    test: str
    heads: tuple[TestedHead, ...]
    title: str
    """The test set, and if others were tested under other settings or on other pictures, which these are."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The heads' names; where they were trained on several sets, with these."""
        several = len({head.record.config.train for head in self.heads}) > 1
        return tuple(
            f"{head.row.label} ({source_title(head.record.config.train)})" if several else head.row.label
            for head in self.heads
        )

    @cached_property
    def queries(self) -> list[int]:
        """Positions of the queries that have a list under every head."""
        return sorted(set.intersection(*(set(head.queries) & set(head.measured) for head in self.heads)))

    @cached_property
    def ordered(self) -> tuple[int, ...]:
        """The queries, those worth a look first.

        In turn the next on which the heads disagree most, of lowest average precision, with the most confident mistake.
        """
        if not self.queries:
            return ()
        precision = np.array([[head.measured[query][0] for query in self.queries] for head in self.heads])
        confidence = np.array([[head.confidence.get(query, -1.0) for query in self.queries] for head in self.heads])
        weights = (np.ptp(precision, axis=0), -precision.mean(axis=0), confidence.max(axis=0))
        orders = [np.argsort(-weight, kind="stable").tolist() for weight in weights]
        turns = dict.fromkeys(place for places in zip(*orders, strict=True) for place in places)
        return tuple(self.queries[place] for place in turns)


def shown_tests(boards: Iterable[Board], results: Path) -> tuple[list[TestShown], list[Record]]:
    """The test sets of all boards with the runs that have lists of them, and the runs that lack lists of any.

    Of each row the first seed with lists is shown; what was tested on other pictures stands apart.
    """
    shelf = _Lists(results)
    found: dict[tuple[int, str, str], dict[str, TestedHead]] = {}
    settings = {id(board.setting): board.setting for board in boards}
    for board in boards:
        for row in board.rows:
            for test in board.tests:
                head = shelf.first(row, test)
                if head is not None:
                    key = (id(board.setting), test, head.result.fingerprint)
                    found.setdefault(key, {}).setdefault(head.record.cell, head)
    titles = Counter(test for _, test, _ in found)
    shown = []
    for (own, test, fingerprint), heads in found.items():
        which = f" ({settings[own].title}, images {fingerprint[:8]})" if titles[test] > 1 else ""
        shown.append(TestShown(settings[own], test, tuple(heads.values()), set_title(test) + which))
    return shown, list(shelf.without.values())


class _Lists:
    """The lists below a results folder, each read once, and the runs that lack some."""

    def __init__(self, results: Path) -> None:
        self.without: dict[str, Record] = {}
        self._results = results
        self._read: dict[tuple[str, str], RankedLists | None] = {}

    def first(self, row: Row, test: str) -> TestedHead | None:
        """A row's first seed with lists of a test set."""
        for record in sorted(row.records, key=lambda record: record.config.seed):
            result = record.result(test)
            lists = self._of(record, result) if result is not None else None
            if lists is not None:
                return TestedHead(row, record, result, lists)
        return None

    def _of(self, record: Record, result: TestResult) -> RankedLists | None:
        key = (record.cell, result.test)
        if key not in self._read:
            try:
                self._read[key] = lists_of(self._results / "runs" / record.cell, result)
            except Unreadable:
                self._read[key] = None
            if self._read[key] is None:
                self.without.setdefault(record.cell, record)
        return self._read[key]
