"""From a board to its tables: accuracy, cost, single splits, and the levels before training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bench.report import notes
from bench.report.board import Board, Row
from bench.report.columns import AVERAGES, COSTS, EXTRA, MACC, PER_TEST, SPLITS, TIME, Quantity
from bench.report.difference_entries import difference_values, lettered, letters_legend, matrix_of
from bench.report.differences import differences
from bench.report.entries import (
    Field,
    Line,
    accuracy_fields,
    best,
    has_published,
    identity,
    measured,
    paper_hours,
    seeds,
)
from bench.report.model import MISSING, Column, DifferenceValue, Footnotes, Table, Text, Value
from bench.report.pairs import pair_columns
from bench.report.titles import set_title, source_title
from bench.report.values import accuracy_values, value_of


def tables(board: Board, columns: Sequence[str] = ()) -> list[Table]:
    """All tables of a board; those of differences, splits and levels before training only where some were measured.

    `columns` are keys of accuracies (`EXTRA`) to show besides.
    """
    made = [accuracy_table(board, columns), cost_table(board)]
    if len(differences(board).rows) > 1:
        made.append(differences_table(board))
    if any(result.splits for row in board.rows for test in board.tests for result in row.results(test)):
        made.append(splits_table(board))
    untrained = any(row.results(test, "untrained") for row in board.rows for test in board.tests)
    if untrained or len(board.levels()) > 1:
        made.append(untrained_table(board))
    return made


def accuracy_table(board: Board, columns: Sequence[str] = ()) -> Table:
    """The accuracies of the trained rows, measured and published, with what is averaged from them."""
    by_key = {quantity.key: quantity for quantity in (*PER_TEST, *EXTRA)}
    shown = [by_key[key] for key in dict.fromkeys((*board.study.accuracies, *columns))]
    if board.study.layout == "sources":
        pairs = pair_columns(board, shown)
        values = [*accuracy_values(board), *pairs.values]
        return _table(board, "accuracy", "accuracy in %", pairs.methods, pairs.fields, values)
    fields = [
        *identity(board),
        *(
            field
            for test in board.tests
            for quantity in shown
            for field in accuracy_fields(board, quantity, test, set_title(test))
        ),
        *_means(board),
        Field(Column("seeds"), seeds),
    ]
    table = _table(board, "accuracy", "accuracy in %", board.rows, fields, accuracy_values(board))
    return replace(table, explained=letters_legend(board))


def _means(board: Board) -> list[Field[Row]]:
    """mAcc, or in tables of averages those."""
    if board.study.averages:
        wanted = [AVERAGES[key] for key in board.study.accuracies]
        return [field for quantity in wanted for field in accuracy_fields(board, quantity, "", quantity.group)]
    of_all = accuracy_fields(board, MACC, "", "all test sets")
    return [
        *(lettered(board, field) if at == 0 else field for at, field in enumerate(of_all)),
        Field(Column("best", "all test sets", long="mAcc, best seed"), best),
    ]


def cost_table(board: Board) -> Table:
    """What the rows of a board that are run here cost, in units chosen once per column."""
    rows = [row for row in board.rows if row.kind != "published"]
    fields = [*identity(board, literature=False), Field(Column("mAcc (%)"), measured(MACC))]
    for quantity in COSTS:
        means = [summary.mean for row in rows if (summary := row.summary(quantity)) is not None]
        factor, unit = quantity.scale(means)
        heading = f"{quantity.heading} ({unit})" if unit else quantity.heading
        fields.append(Field(Column(heading, quantity.group), measured(quantity, factor=factor)))
        if quantity is TIME and has_published(rows, quantity, ""):
            fields.append(Field(Column("paper (h, V100)", quantity.group), paper_hours(with_note=board.study.averages)))
    values = [value_of(board, row, quantity) for row in rows for quantity in COSTS]
    return _table(board, "cost", "cost", rows, fields, values)


def splits_table(board: Board) -> Table:
    """Small sets, tested on several splits each: how much the splits differ, and apart from them the seeds."""
    lines = [
        (row, test)
        for test in board.tests
        for row in board.rows
        if row.kind != "published" and any(result.splits for result in row.results(test))
    ]
    fields: list[Field[tuple[Row, str]]] = [
        *(_of_line(field) for field in identity(board, literature=False)),
        Field(Column("Test set", left=True), lambda line, _: Text(set_title(line[1]))),
    ]
    accuracies = {quantity.key: quantity for quantity in PER_TEST}
    for quantity in (accuracies[key] for key in board.study.accuracies):
        over_splits, first = SPLITS[quantity.key]
        entries = {
            "mean": _mean(quantity),
            over_splits.heading: _mean(over_splits),
            first.heading: _mean(first),
            "± seeds": _seed_spread(quantity),
        }
        fields += [Field(Column(heading, quantity.heading), entry) for heading, entry in entries.items()]
    fields.append(Field(Column("seeds"), lambda line, _: Text(str(len(line[0].results(line[1]))))))
    wanted = [item for quantity in PER_TEST for item in (quantity, *SPLITS[quantity.key])]
    what = "single splits, accuracy in % (±: sample standard deviations, over the splits of a seed and over the seeds)"
    values = [value_of(board, row, quantity, test) for row, test in lines for quantity in wanted]
    return _table(board, "splits", what, lines, fields, values)


def _of_line(field: Field[Row]) -> Field[tuple[Row, str]]:
    return Field(field.column, lambda line, footnotes: field.entry(line[0], footnotes))


def _mean(quantity: Quantity) -> Callable[[tuple[Row, str], Footnotes], Text]:
    """The mean over the seeds alone: their spread has a column of its own."""

    def entry(line: tuple[Row, str], _: Footnotes) -> Text:
        summary = line[0].summary(quantity, line[1])
        return Text(quantity.show(summary.mean) if summary else MISSING)

    return entry


def _seed_spread(quantity: Quantity) -> Callable[[tuple[Row, str], Footnotes], Text]:
    def entry(line: tuple[Row, str], _: Footnotes) -> Text:
        summary = line[0].summary(quantity, line[1])
        return Text(quantity.show(summary.spread) if summary and summary.spread is not None else MISSING)

    return entry


def differences_table(board: Board) -> Table:
    """Each row minus each other in mAcc: over all seeds, and below that of each seed; its values are all measures."""
    matrix = matrix_of(board)
    what = "differences in mAcc, row minus column, in percent points"
    table = _table(board, "differences", what, matrix.lines, matrix.fields, ())
    return replace(
        table, values=tuple(difference_values(board)), explained=matrix.explained, value_kind=DifferenceValue
    )


def untrained_table(board: Board) -> Table:
    """Accuracy of the initial weights, of random scores and of the cosine of pixels."""
    rows = [*(row for row in board.rows if row.kind != "published"), *board.levels()]
    accuracies = {quantity.key: quantity for quantity in PER_TEST}
    shown = [accuracies[key] for key in board.study.accuracies]
    wanted = [*((quantity, test) for test in board.tests for quantity in shown), (MACC, "")]
    fields = [
        *identity(board, literature=False),
        *(
            Field(
                Column(quantity.heading, set_title(test) if test else "all test sets"),
                measured(quantity, test, "untrained"),
            )
            for quantity, test in wanted
        ),
    ]
    values = [
        value_of(board, row, quantity, test, "untrained")
        for row in rows
        for quantity, test in wanted
        if not test or row.is_tested_on(test)
    ]
    return _table(board, "untrained", "before training, accuracy in %", rows, fields, values)


def _table(
    board: Board, kind: str, what: str, lines: Sequence[Line], fields: Sequence[Field[Line]], values: Sequence[Value]
) -> Table:
    footnotes = Footnotes()
    entries = tuple(tuple(field.entry(line, footnotes) for field in fields) for line in lines)
    # Where there are several pairs of sets, columns or notes name them.
    trains = "" if board.study.layout == "sources" else ", ".join(source_title(train) for train in board.trains)
    parts = [board.study.title, f"trained on {trains}" if trains else "", board.setting.title, what]
    return Table(
        slug=f"{board.slug}-{kind}",
        title="; ".join(filter(None, parts)),
        banner=banner(board),
        columns=tuple(field.column for field in fields),
        rows=entries,
        values=tuple(values),
        footnotes=tuple(footnotes.texts),
        notes=tuple(notes.notes(board)),
    )


def banner(board: Board) -> str | None:
    """The warning above everything made from stand-in data."""
    text = board.setting.standin_text
    if text is None:
        return None
    text = text.replace("stand-in data", "STAND-IN DATA")
    return f"{text}: these numbers say nothing about the paper's and cannot be compared with them."
