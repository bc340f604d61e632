"""From a board to its tables: accuracy, cost, and the levels before training."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.report import notes
from bench.report.board import SET_TITLES, Board, Row, State
from bench.report.columns import COSTS, MACC, PER_TEST, TIME, Quantity, Summary
from bench.report.model import CHANCE, MISSING, OUTSIDE, Column, Footnotes, Table, Text, Value
from bench.report.published import HOUR

OPTION_TITLES = {
    "width": "d",
    "feedforward": "D",
    "layers": "N",
    "heads": "H",
    "fc1": "FC1",
    "bn1": "BN1",
    "mlp_head1": "MLPHead1",
    "prior_embed": "PriorEmbed",
    "pos_embed": "PosEmbed",
}
"""Headings of options as the paper writes them; others stand under their own name."""

Entry = Callable[[Row, Footnotes], Text]


@dataclass(frozen=True)
class Field:
    """A column and how its entries are made."""

    column: Column
    entry: Entry


def tables(board: Board) -> list[Table]:
    """All tables of a board; the levels before training only where some were measured."""
    made = [accuracy_table(board), cost_table(board)]
    untrained = any(row.results(test, "untrained") for row in board.rows for test in board.tests)
    if untrained or len(board.levels()) > 1:
        made.append(untrained_table(board))
    return made


def accuracy_table(board: Board) -> Table:
    """Rank-1, mAP and mAcc of the trained rows, measured and published."""
    fields = [
        *_identity(board),
        *(
            field
            for test in board.tests
            for quantity in PER_TEST
            for field in _accuracy_fields(board, quantity, test, SET_TITLES[test])
        ),
        *_accuracy_fields(board, MACC, "", "all test sets"),
        Field(Column("best", "all test sets", long="mAcc, best seed"), _best),
        Field(Column("seeds"), _seeds),
    ]
    values = [
        value
        for row in board.rows
        for quantity, test in [*((item, test) for test in board.tests for item in PER_TEST), (MACC, "")]
        if not test or row.is_tested_on(test)
        for value in [_value(board, row, quantity, test, "trained")]
    ]
    return _table(board, "accuracy", "accuracy in %", board.rows, fields, values)


def cost_table(board: Board) -> Table:
    """What the rows of a board that are run here cost, in units chosen once per column."""
    rows = [row for row in board.rows if row.kind != "published"]
    fields = [*_identity(board, literature=False), Field(Column("mAcc (%)"), _measured(MACC))]
    for quantity in COSTS:
        means = [summary.mean for row in rows if (summary := row.summary(quantity)) is not None]
        factor, unit = quantity.scale(means)
        heading = f"{quantity.heading} ({unit})" if unit else quantity.heading
        fields.append(Field(Column(heading, quantity.group), _measured(quantity, factor=factor)))
        if quantity is TIME and _has_published(rows, quantity, ""):
            fields.append(Field(Column("paper (h, V100)", quantity.group), _paper_hours))
    values = [_value(board, row, quantity, "", "trained") for row in rows for quantity in COSTS]
    return _table(board, "cost", "cost", rows, fields, values)


def untrained_table(board: Board) -> Table:
    """Accuracy of the initial weights, of random scores and of the cosine of pixels."""
    rows = [*(row for row in board.rows if row.kind != "published"), *board.levels()]
    wanted = [*((quantity, test) for test in board.tests for quantity in PER_TEST), (MACC, "")]
    fields = [
        *_identity(board, literature=False),
        *(
            Field(
                Column(quantity.heading, SET_TITLES[test] if test else "all test sets"),
                _measured(quantity, test, "untrained"),
            )
            for quantity, test in wanted
        ),
    ]
    values = [
        _value(board, row, quantity, test, "untrained")
        for row in rows
        for quantity, test in wanted
        if not test or row.is_tested_on(test)
    ]
    return _table(board, "untrained", "before training, accuracy in %", rows, fields, values)


def _table(
    board: Board, kind: str, what: str, rows: Sequence[Row], fields: Sequence[Field], values: Sequence[Value]
) -> Table:
    footnotes = Footnotes()
    entries = tuple(tuple(field.entry(row, footnotes) for field in fields) for row in rows)
    trains = ", ".join(SET_TITLES[train] for train in board.trains)
    return Table(
        slug=f"{board.slug}-{kind}",
        title=f"{board.study.title}; trained on {trains}; {board.setting.title}; {what}",
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


def varying_options(rows: Sequence[Row]) -> list[str]:
    """Options ("width" included) in which rows of the same head differ: what tells such rows apart."""
    configs = [row.config for row in rows if row.config is not None and row.kind == "study"]
    varying: dict[str, None] = {}
    for config in configs:
        for other in configs:
            if config.head != other.head:
                continue
            if config.width != other.width:
                varying["width"] = None
            for key, value in config.options.items():
                if other.options.get(key, value) != value:
                    varying[key] = None
    order = [*OPTION_TITLES, *sorted(varying.keys() - OPTION_TITLES.keys())]
    return [key for key in order if key in varying]


def _identity(board: Board, literature: bool = True) -> list[Field]:
    """The columns that say what a row is."""
    fields = [Field(Column("Method", left=True), _label)]
    if literature and any(row.published and row.published.venue for row in board.rows):
        fields.append(
            Field(Column("Venue", left=True), lambda row, _: Text(row.published.venue if row.published else ""))
        )
    if len(board.trains) > 1:
        fields.append(Field(Column("Training set", left=True), lambda row, _: Text(SET_TITLES.get(row.train, ""))))
    return fields + [Field(Column(OPTION_TITLES.get(key, key)), _option(key)) for key in varying_options(board.rows)]


def _label(row: Row, footnotes: Footnotes) -> Text:
    marks = [OUTSIDE] if row.kind == "outside" else []
    if row.published is not None and row.published.note and row.kind == "study":
        marks.append(footnotes.mark(row.published.note))
    cite = f" {row.published.cite}" if row.kind == "published" and row.published and row.published.cite else ""
    return Text(row.label + cite, tuple(marks))


def _option(key: str) -> Entry:
    def entry(row: Row, _: Footnotes) -> Text:
        if row.config is None:
            return Text()
        value = row.config.width if key == "width" else row.config.options.get(key)
        if isinstance(value, bool):
            return Text("✓" if value else "")
        return Text("" if value is None else str(value))

    return entry


def _accuracy_fields(board: Board, quantity: Quantity, test: str, group: str) -> list[Field]:
    measured = Column(quantity.heading, group)
    fields = [Field(measured, _measured(quantity, test))]
    if _has_published(board.rows, quantity, test):
        fields.append(Field(Column("paper", group, long=f"{measured.full} (paper)"), _paper(quantity, test)))
    return fields


def _has_published(rows: Sequence[Row], quantity: Quantity, test: str) -> bool:
    return any(row.published is not None and row.published.value(quantity.key, test) is not None for row in rows)


def _measured(quantity: Quantity, test: str = "", state: State = "trained", factor: float = 1) -> Entry:
    def entry(row: Row, footnotes: Footnotes) -> Text:
        if row.kind == "published" or (test and not row.is_tested_on(test)):
            return Text()
        summary = row.summary(quantity, test, state)
        if summary is None:
            return _absent(row, footnotes)
        marks = [CHANCE] if quantity.key == "mAP" and state == "trained" and row.at_chance(test) else []
        tested = [record for record in row.records if any(item.state == state for item in record.tests)]
        if quantity is MACC and summary.count < len(tested):
            marks.append(footnotes.mark(f"mAcc over the {summary.count} of {len(tested)} seeds with all test sets."))
        text = quantity.show(summary.mean, factor)
        # Counts and sizes are the same for all seeds; a spread of nothing would only widen their columns.
        if summary.spread is not None and (summary.spread > 0 or quantity.unit == "%"):
            text += f" ±{quantity.show(summary.spread, factor)}"
        return Text(text, tuple(marks))

    return entry


def _absent(row: Row, footnotes: Footnotes) -> Text:
    """Nothing was measured: because all runs failed, or because none was made (or tested there)."""
    if row.records and len(row.failures) == len(row.records):
        return Text("failed", tuple(footnotes.mark(text) for text in notes.failures(row)))
    return Text(MISSING)


def _paper(quantity: Quantity, test: str) -> Entry:
    def entry(row: Row, _: Footnotes) -> Text:
        value = row.published.value(quantity.key, test) if row.published else None
        return Text("" if value is None else quantity.show(value))

    return entry


def _paper_hours(row: Row, _: Footnotes) -> Text:
    value = row.published.value(TIME.key) if row.published else None
    return Text("" if value is None else f"{value / HOUR:.2f}")


def _best(row: Row, _: Footnotes) -> Text:
    summary = row.summary(MACC) if row.kind != "published" else None
    return Text(MACC.show(summary.best) if summary else "")


def _seeds(row: Row, footnotes: Footnotes) -> Text:
    """Seeds with results, of those planned where some lack; failed and left out runs in footnotes."""
    if row.kind == "published":
        return Text()
    count = len(row.records) - len(row.failures) - len(row.unfinished)
    texts = [
        *(notes.failures(row) if len(row.failures) < len(row.records) else []),
        *notes.unfinished(row),
        *notes.skipped_steps(row),
        *notes.left_out(row),
    ]
    marks = tuple(footnotes.mark(text) for text in texts)
    return Text(str(count) if count >= row.planned else f"{count}/{row.planned}", marks)


def _value(board: Board, row: Row, quantity: Quantity, test: str, state: State) -> Value:
    summary: Summary | None = row.summary(quantity, test, state)
    if summary is not None:
        status = "measured"
    elif row.kind == "published":
        status = "published"
    else:
        status = "failed" if row.records and len(row.failures) == len(row.records) else "missing"
    chance = row.at_chance(test, state) if quantity.key == "mAP" and row.results(test, state) else None
    trained = state == "trained"
    return Value(
        study=board.name,
        preset=board.setting.preset or "",
        overrides=json.dumps(dict(board.setting.overrides), sort_keys=True) if board.setting.overrides else "",
        standin=board.setting.standin_text or "",
        method=row.label,
        kind=row.kind,
        train=row.train,
        test=test,
        state=state,
        quantity=quantity.key,
        unit=quantity.unit,
        better=quantity.better,
        status=status,
        mean=summary.mean if summary else None,
        spread=summary.spread if summary else None,
        best=summary.best if summary else None,
        seeds=summary.count if summary else 0,
        seeds_planned=row.planned,
        published=row.published.value(quantity.key, test) if row.published and trained else None,
        at_chance=chance,
        device="; ".join(dict.fromkeys(notes.device(record) for record in row.records)),
        commit="; ".join(
            dict.fromkeys(
                record.provenance.commit + ("+changes" if record.provenance.dirty else "") for record in row.records
            )
        ),
    )
