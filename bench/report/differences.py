"""What tells the rows of a board apart: paired differences with intervals and p values, and letters.

A pair is compared on the same queries of the same persons, seed by seed, each seed apart. Over several seeds of both
rows, trainings and persons both count as drawn at random (`resampling.crossed`): trainings are independent, the queries
that they share are not, so a person's values of all seeds stay together and more seeds never stand in for more persons.
With one seed the interval is that of the persons alone, and says nothing about another training.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations

import numpy as np

from bench.journal.record import TestResult
from bench.report.board import Board, Row
from bench.report.columns import MACC
from bench.report.compared import ComparedRow, Differences, Estimate, Measure, Pair
from bench.report.resampling import (
    Floats,
    Intervals,
    Sample,
    crossed,
    groups_not_apart,
    holm,
    intervals,
    sample,
    swapping,
)

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_COLUMNS = 1000
"""Contrasts resampled at once, which bounds memory to 80 MB."""


@lru_cache(maxsize=32)
def differences(board: Board) -> Differences:
    """Compare the rows of a board; computed once for it."""
    return _Comparison(board).all()


def common_tests(board: Board) -> tuple[str, ...]:
    """The test sets on which every row that was tested at all has a result."""
    measured = [{test for test in board.tests if row.results(test)} for row in board.rows]
    common = set.intersection(*filter(None, measured)) if any(measured) else set()
    return tuple(test for test in board.tests if test in common)


def headline_measure(board: Board, row: Row) -> Measure:
    """What pictures show of a row: mAcc, or mAP over the common test sets where no row was tested on all of its own."""
    if any(item.summary(MACC) for item in board.rows):
        return Measure(MACC.key, row.tests)
    return Measure("mAP", common_tests(board))


@dataclass(frozen=True)
class _Wanted:
    """A contrast to resample: of rows (first, second) or of one row."""

    rows: tuple[int, ...]
    measure: Measure
    seeds: tuple[int, ...]
    overall: bool = False
    """Over all seeds, even where they are one."""


class _Comparison:
    """The values of a board in samples, and where each stands among them."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.without: dict[str, str] = {}
        self.rows: list[Row] = []
        self.samples: list[Sample] = []
        self.places: dict[tuple[int, int, str], tuple[int, int]] = {}
        """By (row, seed, test): the sample, and where Rank-1 stands among all values; mAP is next."""
        self._read()

    def all(self) -> Differences:
        """Estimates of rows and pairs."""
        headlines = [headline_measure(self.board, row) for row in self.rows]
        own = [item for at, measure in enumerate(headlines) for item in self._wanted((at,), [measure])]
        between = [
            item for pair in combinations(range(len(self.rows)), 2) for item in self._wanted(pair, self._measures(pair))
        ]
        found = self._estimates([*own, *between])
        pairs = [
            Pair(*pair, tuple(found[item] for item in between if item.rows == pair))
            for pair in combinations(range(len(self.rows)), 2)
        ]
        rows = [
            ComparedRow(
                row,
                self.board.name_of(row),
                self._seeds((at,), headlines[at]),
                tuple(found[item] for item in own if item.rows == (at,)),
            )
            for at, row in enumerate(self.rows)
        ]
        compared = Differences(tuple(rows), tuple(_corrected(pairs)), self.without)
        return replace(compared, rows=tuple(_lettered(compared)))

    def _read(self) -> None:
        values: dict[tuple[object, ...], list[tuple[tuple[int, int, str], TestResult]]] = {}
        for row in self.board.rows:
            found = [(record.config.seed, result) for record in row.records for result in _trained(record.tests)]
            known = [(seed, result) for seed, result in found if _has_persons(result)]
            if len({result.test for _, result in found}) > len({result.test for _, result in known}):
                self.without[self.board.name_of(row)] = "tested before records kept the person of each query"
            if not known:
                continue
            at = len(self.rows)
            self.rows.append(row)
            for seed, result in known:
                if len({*result.query_person}) > 1:
                    values.setdefault(_queries_of(result), []).append(((at, seed, result.test), result))
                else:
                    self.without[self.board.name_of(row)] = "tested on a single person"
        start = 0
        for results in values.values():
            columns = []
            for key, result in results:
                self.places[key] = (len(self.samples), start + len(columns))
                columns += [np.asarray(result.first_rank) == 1, np.asarray(result.average_precision)]
            first = results[0][1]
            sizes = [split.queries for split in first.splits] or [len(first.query_person)]
            splits = np.repeat(np.arange(len(sizes)), sizes)
            self.samples.append(sample(first.query_person, splits, 100 * np.column_stack(columns).astype(float)))
            start += len(columns)
        self.width = start

    def _measures(self, pair: tuple[int, int]) -> list[Measure]:
        first, second = (self.rows[at] for at in pair)
        measures = [Measure(key, (test,)) for test in self.board.tests for key in ("rank1", "mAP")]
        if first.tests == second.tests and first.tests:
            measures.append(Measure(MACC.key, first.tests))
        return measures

    def _seeds(self, rows: Sequence[int], measure: Measure) -> tuple[int, ...]:
        """The seeds in which all of the rows were tested on the same queries of all the measure's test sets."""
        if not measure.tests:
            return ()
        seeds = sorted({seed for at, seed, _ in self.places if at == rows[0]})
        return tuple(seed for seed in seeds if all(self._shared(rows, seed, test) for test in measure.tests))

    def _shared(self, rows: Sequence[int], seed: int, test: str) -> bool:
        found = [self.places.get((at, seed, test)) for at in rows]
        return None not in found and len({place[0] for place in found if place}) == 1

    def _wanted(self, rows: tuple[int, ...], measures: Iterable[Measure]) -> list[_Wanted]:
        wanted = []
        for measure in measures:
            seeds = self._seeds(rows, measure)
            wanted += [_Wanted(rows, measure, (seed,)) for seed in seeds]
            wanted += [_Wanted(rows, measure, seeds, overall=True)] if seeds else []
        return wanted

    def _contrast(self, wanted: _Wanted) -> Floats:
        weights = np.zeros(self.width)
        measure = wanted.measure
        share = 1 / (len(measure.tests) * len(measure.fields) * len(wanted.seeds))
        for sign, at in zip((1, -1), wanted.rows, strict=False):
            for seed in wanted.seeds:
                for test in measure.tests:
                    _, start = self.places[at, seed, test]
                    for field in measure.fields:
                        weights[start + ("rank1", "mAP").index(field)] += sign * share
        return weights

    def _estimates(self, wanted: Sequence[_Wanted]) -> dict[_Wanted, Estimate]:
        made: dict[_Wanted, Estimate] = {}
        for start in range(0, len(wanted), _COLUMNS):
            part = wanted[start : start + _COLUMNS]
            contrasts = np.column_stack([self._contrast(item) for item in part])
            found = intervals(self.samples, contrasts)
            p_values = swapping(self.samples, contrasts)
            for column, item in enumerate(part):
                made[item] = self._estimate(item, found, column, float(p_values[column]))
        for item in [item for item in wanted if len(item.seeds) > 1]:
            each = [made[replace(item, seeds=(seed,), overall=False)].value for seed in item.seeds]
            whole = crossed(each, made[item].person_error, made[item].persons)
            made[item] = replace(made[item], value=whole.value, low=whole.low, high=whole.high, p=whole.p)
        return made

    def _estimate(self, wanted: _Wanted, found: Intervals, column: int, p: float) -> Estimate:
        used = [self.places[wanted.rows[0], wanted.seeds[0], test][0] for test in wanted.measure.tests]
        return Estimate(
            wanted.measure,
            None if wanted.overall else wanted.seeds[0],
            wanted.seeds,
            float(found.value[column]),
            float(found.low[column]),
            float(found.high[column]),
            sum(self.samples[at].persons for at in used),
            sum(self.samples[at].queries for at in used),
            p=p if len(wanted.rows) == 2 else 1.0,
            person_error=float(found.error[column]),
        )


def _trained(results: Iterable[TestResult]) -> list[TestResult]:
    return [result for result in results if result.state == "trained"]


def _has_persons(result: TestResult) -> bool:
    return 0 < len(result.query_person) == len(result.first_rank) == len(result.average_precision)


def _queries_of(result: TestResult) -> tuple[object, ...]:
    """What two results share that can be compared query by query."""
    splits = tuple((split.split, split.swapped, split.queries) for split in result.splits)
    return result.test, result.fingerprint, splits, tuple(result.query_index), tuple(result.query_person)


def _corrected(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs with Holm's correction, over all that share a measure and a seed."""
    families: dict[tuple[str, tuple[str, ...], int | None], list[tuple[int, int]]] = {}
    for at, pair in enumerate(pairs):
        for number, item in enumerate(pair.differences):
            tests = () if item.measure.key == MACC.key else item.measure.tests
            families.setdefault((item.measure.key, tests, item.seed), []).append((at, number))
    changed = [list(pair.differences) for pair in pairs]
    for family in families.values():
        corrected = holm([pairs[at].differences[number].p for at, number in family])
        for (at, number), p in zip(family, corrected, strict=True):
            changed[at][number] = replace(changed[at][number], holm=p)
    return [replace(pair, differences=tuple(items)) for pair, items in zip(pairs, changed, strict=True)]


def _lettered(compared: Differences) -> list[ComparedRow]:
    """The rows with their letters: among rows of the same test sets, a for the group of the best."""
    letters = [""] * len(compared.rows)
    apart = [(pair.first, pair.second) for pair in compared.pairs if compared.told_apart(pair)]
    used = 0
    for tests in dict.fromkeys(item.row.tests for item in compared.rows):
        own = [at for at, item in enumerate(compared.rows) if item.row.tests == tests and _has_macc(item)]
        own.sort(key=lambda at: -compared.rows[at].headline[-1].value)
        places = {at: place for place, at in enumerate(own)}
        told = [(places[one], places[other]) for one, other in apart if one in places and other in places]
        for group in groups_not_apart(len(own), told) if len(own) > 1 else []:
            sign = LETTERS[used] if used < len(LETTERS) else f"({used + 1})"
            used += 1
            for place in group:
                letters[own[place]] += sign
    return [replace(item, letters=found) for item, found in zip(compared.rows, letters, strict=True)]


def _has_macc(item: ComparedRow) -> bool:
    return bool(item.headline) and item.headline[-1].measure.key == MACC.key
