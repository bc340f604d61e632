"""The ranked lists of runs on one test set side by side: which runs, and which of their queries are worth a look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.journal.lists import RankedLists, read_lists, without_lists
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
    def confidence(self) -> NDArray[np.float64]:
        """[queries] of each query whose nearest picture is wrong: the share of queries with a lower first score.

        A head's scores mean nothing beside another's, but their order does. NaN where the nearest picture is right.
        """
        lists = map(self.lists.of, range(len(self.lists.query_path)))
        nearest = [next((entry for entry in entries if entry.rank == 1), None) for entries in lists]
        scores = np.array([np.nan if entry is None else entry.score for entry in nearest])
        wrong = np.array([entry is not None and entry.kind == "wrong" for entry in nearest])
        below = np.searchsorted(np.sort(scores), scores)
        return np.where(wrong, below / max(1, len(scores)), np.nan)


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

    @property
    def queries(self) -> int:
        """How many queries the lists are of: those that count."""
        return len(self.heads[0].lists.query_path)

    @cached_property
    def ordered(self) -> tuple[int, ...]:
        """All queries by their place in the lists, those worth a look first.

        In turn the next on which the heads disagree most, of lowest average precision, with the most confident mistake.
        """
        precision = np.array([head.result.average_precision for head in self.heads])
        confidence = np.array([head.confidence for head in self.heads])
        weights = (np.ptp(precision, axis=0), -precision.mean(axis=0), np.nan_to_num(confidence, nan=-1.0).max(axis=0))
        orders = [np.argsort(-weight, kind="stable").tolist() for weight in weights]
        return tuple(dict.fromkeys(place for places in zip(*orders, strict=True) for place in places))


def shown_tests(boards: Iterable[Board], results: Path) -> tuple[list[TestShown], list[str]]:
    """The test sets of all boards with the runs that have lists of them, and a sentence for each run that has none.

    Of each row the first seed with lists is shown; what was tested on other pictures stands apart.
    """
    found: dict[tuple[int, str, str, int], dict[str, TestedHead]] = {}
    settings: dict[int, Setting] = {}
    lacking: dict[str, str] = {}
    for board in boards:
        settings[id(board.setting)] = board.setting
        for row in board.rows:
            for test in board.tests:
                head, without = _first_with_lists(row, test, results)
                lacking |= without
                if head is not None:
                    key = (id(board.setting), test, head.result.fingerprint, len(head.lists.query_path))
                    found.setdefault(key, {}).setdefault(head.record.cell, head)
    titles = Counter(test for _, test, *_ in found)
    shown = []
    for (own, test, fingerprint, _), heads in found.items():
        which = f" ({settings[own].title}, images {fingerprint[:8]})" if titles[test] > 1 else ""
        shown.append(TestShown(settings[own], test, tuple(heads.values()), set_title(test) + which))
    return shown, list(lacking.values())


def _first_with_lists(row: Row, test: str, results: Path) -> tuple[TestedHead | None, dict[str, str]]:
    """A row's first seed with lists of a test set; and, if there is none, what is to be said of each seed."""
    without: dict[str, str] = {}
    for record in sorted(row.records, key=lambda record: record.config.seed):
        result = record.result(test)
        if result is None:
            continue
        try:
            lists = read_lists(results / "runs" / record.cell, test)
        except Unreadable as fault:
            without[f"{record.cell} {test}"] = str(fault)
            continue
        if lists is not None:
            return TestedHead(row, record, result, lists), {}
        without[f"{record.cell} {test}"] = without_lists(record, test)
    return None, without
