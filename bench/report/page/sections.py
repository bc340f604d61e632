"""A page's tables and pictures as its template wants them: what titles share is said once, above all of them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from bench.journal.record import Record
from bench.report.board import Board
from bench.report.model import Column, Table, Text
from bench.report.notes import commit, device

SEPARATOR = "; "
"""Between the parts of a table's title."""

PICTURES = {
    "accuracy": "Accuracy of each row as a bar",
    "tradeoff": "Accuracy of each row against pairs matched per second and against training time",
    "epochs": "Hit rate and loss of each row on training batches, epoch by epoch",
    "curves": "Accuracy and training time against the sizes that are swept",
    "learning": "Accuracy on held-out persons, hit rate and gradient norms of each row against training steps",
    "shortlist": "Accuracy against queries a second, a line for each head, from short shortlists to the whole gallery",
}
"""What the kinds of pictures show, for those who cannot see them."""


@dataclass(frozen=True)
class Group:
    """A heading above neighbouring columns; "" above columns that have none."""

    name: str
    columns: int


@dataclass(frozen=True)
class Grid:
    """A table in HTML. `groups` is empty where no column has one."""

    slug: str
    title: str
    groups: tuple[Group, ...]
    columns: tuple[Column, ...]
    rows: tuple[tuple[Text, ...], ...]
    footnotes: tuple[str, ...]
    legend: tuple[str, ...]


@dataclass(frozen=True)
class Figure:
    """A picture as a data address, and in words."""

    source: str
    text: str


@dataclass(frozen=True)
class Section:
    """The tables and pictures of one board, or those of speed. `repeated`: all its runs stand in another section."""

    slug: str
    title: str
    subtitle: str
    banner: str | None
    tables: tuple[Grid, ...]
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    repeated: bool = False


def board_section(board: Board, made: Sequence[Table], pictures: Mapping[str, bytes], repeated: bool) -> Section:
    """A board with its tables and its pictures, WebP files by name."""
    title, *rest = _common_parts(made)
    return Section(
        slug=board.slug,
        title=title,
        subtitle=SEPARATOR.join(rest),
        banner=made[0].banner,
        tables=tuple(grid(table, len(rest) + 1) for table in made),
        figures=tuple(_figure(board, name, content) for name, content in pictures.items() if name.endswith(".webp")),
        notes=made[0].notes,
        repeated=repeated,
    )


def speed_section(made: Sequence[Table]) -> Section:
    """The tables of `bench perf`."""
    return Section("speed", "Speed", "", None, tuple(grid(table, 1) for table in made), notes=made[0].notes)


def shortlist_section(made: Sequence[Table], pictures: Mapping[str, Mapping[str, bytes]]) -> Section:
    """The tables of `bench shortlist`, and their pictures: WebP files by the slugs of tables, then by name."""
    figures = tuple(
        Figure(_address(content), f"{table.title}: {PICTURES['shortlist']}. The tables above hold the numbers.")
        for table in made
        for name, content in pictures.get(table.slug, {}).items()
        if name.endswith(".webp")
    )
    tables = tuple(grid(table) for table in made)
    warning = next((table.banner for table in made if table.banner), None)
    return Section("shortlist", "Shortlists", "", warning, tables, figures, made[0].notes)


def grid(table: Table, parts: int = 0) -> Grid:
    """A table without the first `parts` of its title."""
    groups = tuple(
        Group(name, len(list(members))) for name, members in groupby(table.columns, key=lambda column: column.group)
    )
    title = SEPARATOR.join(table.title.split(SEPARATOR)[parts:]) or table.title
    return Grid(
        slug=table.slug,
        title=title[:1].upper() + title[1:],
        groups=groups if any(group.name for group in groups) else (),
        columns=table.columns,
        rows=table.rows,
        footnotes=table.footnotes,
        legend=tuple(table.legend),
    )


def runs_of(boards: Sequence[Board]) -> list[Record]:
    """The runs that any row counts, each once."""
    runs = {record.cell: record for board in boards for row in board.rows for record in row.records}
    return list(runs.values())


def runs_grid(records: Sequence[Record]) -> Grid:
    """Where the numbers come from, one run a row."""
    columns = ("Run", "Row", "Trained on", "Seed", "State", "Finished", "Commit", "Device", "torch", "Training data")
    words = {"Run", "Row", "Trained on", "State", "Finished", "Commit", "Device", "torch", "Training data"}
    rows = [
        (
            record.cell,
            record.label,
            record.config.train,
            str(record.config.seed),
            record.status,
            record.provenance.finished,
            commit(record),
            device(record),
            record.provenance.versions.get("torch", "unknown"),
            record.fingerprint[:12],
        )
        for record in records
    ]
    return Grid(
        slug="runs",
        title="Runs",
        groups=(),
        columns=tuple(Column(name, left=name in words) for name in columns),
        rows=tuple(tuple(Text(entry) for entry in row) for row in rows),
        footnotes=(),
        legend=(),
    )


def _common_parts(made: Sequence[Table]) -> list[str]:
    """The parts with which all titles begin, at least one; of each title the last part is its own."""
    parts = [table.title.split(SEPARATOR) for table in made]
    shortest = max(1, min(len(own) for own in parts) - 1)
    common = []
    for place in range(shortest):
        found = {own[place] for own in parts}
        if len(found) > 1:
            break
        common += found
    return common or [parts[0][0]]


def _figure(board: Board, name: str, content: bytes) -> Figure:
    kind = name.removesuffix(".webp").removeprefix(f"{board.slug}-")
    what = PICTURES.get(kind, "A picture of the rows")
    return Figure(_address(content), f"{board.study.title}: {what}. The tables above hold the numbers.")


def _address(content: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(content).decode()}"
