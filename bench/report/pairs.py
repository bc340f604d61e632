"""Tables of layout "sources": one line a method, columns for each pair of training and test set, and their averages."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.report.board import Board, Row
from bench.report.columns import AVERAGES, Quantity, Summary, summarise
from bench.report.entries import (
    Entry,
    Field,
    absent,
    has_published,
    identity,
    measured,
    published,
    published_column,
    seeds,
    shown,
    too_few_tested,
)
from bench.report.model import Column, Footnotes, Text, Value
from bench.report.published import AVERAGE, PublishedRow, published_of
from bench.report.titles import short_title
from bench.report.values import value_from


@dataclass(frozen=True)
class Method:
    """A line: the rows of one method by training set, and the printed averages of its values."""

    rows: Mapping[str, Row]
    printed: PublishedRow | None

    @property
    def first(self) -> Row:
        """The row whose training set comes first."""
        return next(iter(self.rows.values()))

    @property
    def copied(self) -> bool:
        """Whether others ran it, and nobody here."""
        return self.first.kind == "published"

    def average(self, quantity: Quantity, field: str, pairs: Sequence[tuple[str, str]]) -> tuple[Summary | None, int]:
        """The mean over all pairs, of the seeds that have them all; and the number of seeds that have any."""
        by_seed: dict[int, list[float]] = {}
        for train, test in pairs:
            for record in self.rows[train].records if train in self.rows else ():
                result = record.result(test)
                if result is not None:
                    by_seed.setdefault(record.config.seed, []).append(100 * getattr(result, field))
        means = [statistics.fmean(found) for found in by_seed.values() if len(found) == len(pairs)]
        return summarise(quantity, means), len(by_seed)

    def whole(self) -> Row:
        """A row that stands for all training sets."""
        records = tuple(record for row in self.rows.values() for record in row.records)
        return replace(self.first, train="", tests=(), records=records)


@dataclass(frozen=True)
class Pairs:
    """A table of pairs: its lines, its columns, and the values of its averages."""

    methods: list[Method]
    fields: list[Field[Method]]
    values: list[Value]


def pair_columns(board: Board, shown_per_test: Sequence[Quantity]) -> Pairs:
    """The lines and columns of a board; `shown_per_test` are the quantities of each pair."""
    methods = _methods(board)
    tests = {train: [test for test in board.tests if _is_tested(board, train, test)] for train in board.trains}
    asked = [(train, test) for train in board.trains for test in board.asked_tests(train)]
    name, *others = identity(board, source=False)
    fields = [Field(name.column, _in_all_rows(name)), *map(_of_method, others)]
    for train, of_train in tests.items():
        for test in of_train:
            for quantity in shown_per_test:
                fields += _pair_fields(board, methods, quantity, train, test)
    averages = [(AVERAGES[key], key) for key in board.study.accuracies] if len(asked) > 1 else []
    for quantity, field in averages:
        column = Column(quantity.heading, "average")
        fields.append(Field(column, _average_entry(quantity, field, asked)))
        if any(method.printed and not method.copied for method in methods):
            fields.append(Field(published_column(board, column), _printed_average(quantity)))
    fields.append(Field(Column("seeds"), _seeds_of_all))
    values = [
        value_from(
            board,
            method.whole(),
            quantity,
            method.average(quantity, field, asked)[0],
            printed=method.printed.value(quantity.key) if method.printed else None,
        )
        for method in methods
        for quantity, field in averages
    ]
    return Pairs(methods, fields, values)


def _methods(board: Board) -> list[Method]:
    """Published methods that are not run here first, then the study's in their order."""
    table = published_of(board.study)
    lines: dict[tuple[bool, str], dict[str, Row]] = {}
    for copied in (True, False):
        for row in board.rows:
            if (row.kind == "published") is copied:
                lines.setdefault((not copied, row.label), {})[row.train] = row
    return [Method(rows, table.row(label, AVERAGE)) for (_, label), rows in lines.items()]


def _is_tested(board: Board, train: str, test: str) -> bool:
    return any(row.train == train and row.is_tested_on(test) for row in board.rows)


def _of_method(field: Field[Row]) -> Field[Method]:
    return Field(field.column, lambda method, footnotes: field.entry(method.first, footnotes))


def _in_all_rows(field: Field[Row]) -> Callable[[Method, Footnotes], Text]:
    """The first row's entry, with the marks of all."""

    def entry(method: Method, footnotes: Footnotes) -> Text:
        texts = [field.entry(row, footnotes) for row in method.rows.values()]
        return Text(texts[0].body, tuple(dict.fromkeys(mark for text in texts for mark in text.marks)))

    return entry


def _pair_fields(
    board: Board, methods: Sequence[Method], quantity: Quantity, train: str, test: str
) -> list[Field[Method]]:
    """A quantity of one pair, and behind it the published one where a method that is run here has one."""

    def of_row(entry: Entry) -> Callable[[Method, Footnotes], Text]:
        return lambda method, notes: entry(method.rows[train], notes) if train in method.rows else Text()

    column = Column(quantity.heading, f"{short_title(train)} → {short_title(test)}")
    fields = [Field(column, of_row(measured(quantity, test, literature=True)))]
    if has_published([row for row in board.rows if row.kind != "published" and row.train == train], quantity, test):
        fields.append(Field(published_column(board, column), of_row(published(quantity, test, literature=False))))
    return fields


def _average_entry(
    quantity: Quantity, field: str, pairs: Sequence[tuple[str, str]]
) -> Callable[[Method, Footnotes], Text]:
    def entry(method: Method, footnotes: Footnotes) -> Text:
        if method.copied:
            return _printed(method, quantity)
        summary, tested = method.average(quantity, field, pairs)
        if summary is None:
            return absent(method.whole(), footnotes)
        few = [footnotes.mark(too_few_tested(quantity, summary.count, tested))] if summary.count < tested else []
        return Text(shown(quantity, summary), tuple(few))

    return entry


def _printed_average(quantity: Quantity) -> Callable[[Method, Footnotes], Text]:
    return lambda method, _: Text() if method.copied else _printed(method, quantity)


def _printed(method: Method, quantity: Quantity) -> Text:
    value = method.printed.value(quantity.key) if method.printed else None
    return Text("" if value is None else quantity.show(value))


def _seeds_of_all(method: Method, footnotes: Footnotes) -> Text:
    """The seeds of each training set; once where they are as many for all."""
    texts = [seeds(row, footnotes) for row in method.rows.values()]
    bodies = [text.body for text in texts]
    marks = dict.fromkeys(mark for text in texts for mark in text.marks)
    return Text(bodies[0] if len({*bodies}) == 1 else ", ".join(bodies), tuple(marks))
