"""The entries of tables: what each says of a row, with its marks and footnotes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from bench.report import notes
from bench.report.board import Board, Row, State
from bench.report.columns import AVERAGES, MACC, TIME, Quantity, Summary
from bench.report.model import CHANCE, LITERATURE, MISSING, OUTSIDE, Column, Footnotes, Text
from bench.report.published import HOUR, published_of
from bench.report.titles import source_title

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

MEANS = (MACC, *AVERAGES.values())
"""Quantities over all test sets, which a seed lacks that was not tested on all."""

Line = TypeVar("Line")

Entry = Callable[[Row, Footnotes], Text]


@dataclass(frozen=True)
class Field(Generic[Line]):
    """A column and how its entries are made, each from a line of the table: a row, or what a table makes of rows."""

    column: Column
    entry: Callable[[Line, Footnotes], Text]


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
                # What another lacks is at its default there, and would be lacking here if it were so too.
                if key not in other.options or other.options[key] != value:
                    varying[key] = None
    order = [*OPTION_TITLES, *sorted(varying.keys() - OPTION_TITLES.keys())]
    return [key for key in order if key in varying]


def identity(board: Board, literature: bool = True, source: bool = True) -> list[Field[Row]]:
    """The columns that say what a row is; without `source` none says what it was trained on."""
    fields: list[Field[Row]] = [Field(Column("Method", left=True), label(board.study.averages))]
    if literature and any(row.published and row.published.venue for row in board.rows):
        fields.append(
            Field(Column("Venue", left=True), lambda row, _: Text(row.published.venue if row.published else ""))
        )
    if source and len(board.trains) > 1:
        fields.append(Field(Column("Training set", left=True), lambda row, _: Text(source_title(row.train))))
    return fields + [Field(Column(OPTION_TITLES.get(key, key)), _option(key)) for key in varying_options(board.rows)]


def label(mark_literature: bool) -> Entry:
    """What a row is called. `mark_literature` where printed values stand in the columns of measured ones.

    There a note on a value that is printed beside a measured one stands at that value.
    """

    def entry(row: Row, footnotes: Footnotes) -> Text:
        marks = [OUTSIDE] if row.kind == "outside" else []
        printed = row.published
        if printed is None:
            return Text(row.label, tuple(marks))
        copied = row.kind == "published"
        if copied and mark_literature:
            marks.append(LITERATURE)
        if printed.note and (copied or not mark_literature):
            marks.append(footnotes.mark(printed.note))
        if copied and printed.source:
            marks.append(footnotes.mark(f"From {printed.source}."))
        net = f" ({printed.net})" if copied and printed.net and printed.net not in row.label else ""
        cite = f" {printed.cite}" if copied and printed.cite else ""
        return Text(row.label + net + cite, tuple(marks))

    return entry


def _option(key: str) -> Entry:
    def entry(row: Row, _: Footnotes) -> Text:
        if row.config is None:
            return Text()
        value = row.config.width if key == "width" else row.config.options.get(key)
        if isinstance(value, bool):
            return Text("✓" if value else "")
        return Text("" if value is None else str(value))

    return entry


def accuracy_fields(board: Board, quantity: Quantity, test: str, group: str) -> list[Field[Row]]:
    """A measured quantity, and the published one behind it where there is one.

    In tables of averages, as in the literature that they continue, values of others stand in the measured's column.
    """
    column = Column(quantity.heading, group)
    together = board.study.averages
    fields: list[Field[Row]] = [Field(column, measured(quantity, test, literature=together))]
    rows = [row for row in board.rows if row.kind != "published"] if together else board.rows
    if has_published(rows, quantity, test):
        fields.append(Field(published_column(board, column), published(quantity, test, literature=not together)))
    return fields


def published_column(board: Board, column: Column) -> Column:
    """The column of published values beside that of measured ones."""
    heading = "paper" if published_of(board.study).by == "paper" else "published"
    return Column(heading, column.group, long=f"{column.full} ({heading})")


def has_published(rows: Sequence[Row], quantity: Quantity, test: str) -> bool:
    """Whether a quantity was printed for any of the rows."""
    return any(row.published is not None and row.published.value(quantity.key, test) is not None for row in rows)


def measured(
    quantity: Quantity, test: str = "", state: State = "trained", factor: float = 1, literature: bool = False
) -> Entry:
    """A quantity over the seeds; with `literature` the printed value of rows that are not run here."""

    def entry(row: Row, footnotes: Footnotes) -> Text:
        if row.kind == "published":
            return published(quantity, test)(row, footnotes) if literature else Text()
        if test and not row.is_tested_on(test):
            return Text()
        summary = row.summary(quantity, test, state)
        if summary is None:
            return absent(row, footnotes)
        marks = [CHANCE] if quantity.key == "mAP" and state == "trained" and row.at_chance(test) else []
        tested = [record for record in row.records if any(item.state == state for item in record.tests)]
        if quantity in MEANS and summary.count < len(tested):
            marks.append(footnotes.mark(too_few_tested(quantity, summary.count, len(tested))))
        return Text(shown(quantity, summary, factor), tuple(marks))

    return entry


def too_few_tested(quantity: Quantity, count: int, tested: int) -> str:
    """The footnote on a mean of fewer seeds than have results."""
    return f"{'mAcc' if quantity is MACC else 'Averages'} over the {count} of {tested} seeds with all test sets."


def shown(quantity: Quantity, summary: Summary, factor: float = 1) -> str:
    """Mean and spread of the seeds for reading."""
    text = quantity.show(summary.mean, factor)
    # Counts and sizes are the same for all seeds; a spread of nothing would only widen their columns.
    if summary.spread is not None and (summary.spread > 0 or quantity.unit == "%"):
        text += f" ±{quantity.show(summary.spread, factor)}"
    return text


def absent(row: Row, footnotes: Footnotes) -> Text:
    """Nothing was measured: because all runs failed, or because none was made (or tested there)."""
    if row.records and len(row.failures) == len(row.records):
        return Text("failed", tuple(footnotes.mark(text) for text in notes.failures(row)))
    return Text(MISSING)


def published(quantity: Quantity, test: str = "", literature: bool = True) -> Entry:
    """The printed value of a quantity; without `literature` none for rows that are not run here, and with its note."""

    def entry(row: Row, footnotes: Footnotes) -> Text:
        value = row.published.value(quantity.key, test) if row.published else None
        if value is None or (row.kind == "published" and not literature):
            return Text()
        return Text(quantity.show(value), () if literature else _note(row, footnotes))

    return entry


def paper_hours(with_note: bool) -> Entry:
    """The printed training time."""

    def entry(row: Row, footnotes: Footnotes) -> Text:
        value = row.published.value(TIME.key) if row.published else None
        if value is None:
            return Text()
        return Text(f"{value / HOUR:.2f}", _note(row, footnotes) if with_note else ())

    return entry


def _note(row: Row, footnotes: Footnotes) -> tuple[str, ...]:
    return (footnotes.mark(row.published.note),) if row.published and row.published.note else ()


def best(row: Row, _: Footnotes) -> Text:
    """The mAcc of the best seed."""
    summary = row.summary(MACC) if row.kind != "published" else None
    return Text(MACC.show(summary.best) if summary else "")


def seeds(row: Row, footnotes: Footnotes) -> Text:
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
