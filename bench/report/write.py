"""The report as a whole: which tables and pictures, in which files, and what to print."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from bench.config import one_of
from bench.errors import UserError
from bench.journal.reading import Unreadable, told
from bench.journal.record import Record, write_atomically
from bench.journal.shortlists import ShortlistRecord
from bench.progress import one_line, sentence
from bench.report.board import Board
from bench.report.collect import collect, covered
from bench.report.columns import EXTRA
from bench.report.curves import CurvePoint, curve_points
from bench.report.epochs import EpochPoint, Epochs, epoch_points
from bench.report.layout import tables
from bench.report.learning import LearningPoint, learning_points
from bench.report.model import FORMATS, PICTURES, USUAL_FORMATS, Table
from bench.report.page.make import PageContent, make_page
from bench.report.page.options import PageOptions
from bench.report.page.sections import Section, board_section, shortlist_section, speed_section
from bench.report.render import (
    escape_markdown,
    notes_markdown,
    notes_text,
    to_csv,
    to_csv_lines,
    to_latex,
    to_markdown,
    to_text,
)
from bench.report.shortlist import groups, shortlist_tables, slug
from bench.report.sources import read_sources
from bench.report.speed import speed_tables
from bench.study.definition import Study, study_names

MARKDOWN = "report.md"
PAGE = "report.html"

SPEED = "speed"
"""Chosen like a study: the tables of `bench perf`."""
SHORTLIST = "shortlist"
"""Chosen like a study: the tables and pictures of `bench shortlist`."""
MAKERS = {SPEED: "bench perf", SHORTLIST: "bench shortlist"}
"""The commands that measure what stands beside the tables of runs."""


@dataclass(frozen=True)
class Report:
    """What was made: text for the terminal and the files written; and what it had to do without, which `text` says."""

    text: str
    files: tuple[Path, ...]
    unreadable: tuple[Unreadable, ...] = ()
    undrawn: tuple[str, ...] = ()
    """Pictures that could not be drawn, one sentence each."""


def write_report(
    results: Path,
    out: Path,
    studies: Sequence[str] | None = None,
    formats: Sequence[str] | None = None,
    width: int | None = None,
    columns: Sequence[str] = (),
    own: Mapping[str, Study] | None = None,
    page: PageOptions | None = None,
) -> Report:
    """Draw tables and pictures from the records below `results` and write them to the folder `out`.

    `studies` chooses tables of the paper (default: all that have runs), `formats` some of FORMATS (default:
    USUAL_FORMATS), `width` is that of the terminal (default: no limit), `columns` are keys of accuracies to show
    besides, `own` studies beside those of the suite, by name, `page` says what an HTML page shows. Records that cannot
    be read are passed over. Raises UserError where there are no runs, for unknown studies, formats or columns, for an
    `out` among the runs, which reports never touch, and for one that cannot be written.
    """
    for name in studies or ():
        one_of("study", name, (*study_names(), *(own or ()), *MAKERS))
    wanted = [one_of("format", name, FORMATS) for name in formats or USUAL_FORMATS]
    extra = [one_of("column", name, [quantity.key for quantity in EXTRA]) for name in columns]
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(results / "runs")):
        raise UserError(f"--out {out} lies among the runs, which a report only reads; choose another folder")
    sources = read_sources(
        results, speed=not studies or SPEED in studies, shortlists=not studies or SHORTLIST in studies
    )
    beside = {SPEED: speed_tables(sources.speed), SHORTLIST: shortlist_tables(sources.shortlists)}
    head, passed_over = _head(sources.records, results), told(sources.unreadable)
    if not sources.records and not any(beside.values()):
        if sources.unreadable:
            return Report("\n".join([*head, *passed_over]), (), sources.unreadable)
        raise UserError(
            f"there are no runs in {results}; to make some: bench run --variants all --train msmt --preset demo"
        )
    papers = [name for name in studies or () if name not in MAKERS]
    boards = collect(sources.records, papers or None, own) if papers or not studies else []
    made = {board.slug: tables(board, extra) for board in boards}
    files: dict[str, bytes] = {}
    for table in [*(table for board in boards for table in made[board.slug]), *chain(*beside.values())]:
        files |= _table_files(table, wanted)
    if "csv" in wanted:
        files |= _point_files(boards, sources.epochs)
    suffixes = [suffix for name in wanted for suffix in PICTURES.get(name, ())]
    pictures, undrawn = _draw(boards, sources.epochs, groups(sources.shortlists), suffixes)
    for drawn in pictures.values():
        files |= {name: content for name, content in drawn.items() if not name.endswith(PICTURES["html"])}
    passed_over = [*undrawn, *passed_over]
    first: dict[str, bytes] = {}
    if "html" in wanted:
        sections = _sections(boards, made, pictures, beside)
        html, remarks, fault = make_page(
            PageContent(head, passed_over, sections, boards), results, page or PageOptions()
        )
        passed_over = [*passed_over, *remarks, *fault]
        undrawn = [*undrawn, *fault]
        first |= {PAGE: html} if html else {}
    if "markdown" in wanted:
        first[MARKDOWN] = _bytes(_markdown(head, passed_over, boards, made, pictures, beside))
    write_files(files | first, out)
    parts = [_terminal(head, boards, made, bool(studies), width)]
    parts += _beside(beside, bool(boards) and not studies, width)
    parts += [
        f"No {name} measured yet: `{MAKERS[name]}`." for name in studies or () if name in beside and not beside[name]
    ]
    if passed_over:
        parts.append("\n".join(passed_over))
    return Report("\n\n".join(parts), tuple(out / name for name in first | files), sources.unreadable, tuple(undrawn))


def _table_files(table: Table, wanted: Sequence[str]) -> dict[str, bytes]:
    writers: dict[str, tuple[str, Callable[[Table], str]]] = {"latex": (".tex", to_latex), "csv": (".csv", to_csv)}
    chosen = [writers[name] for name in wanted if name in writers]
    return {f"{table.slug}{suffix}": _bytes(render(table)) for suffix, render in chosen}


def _point_files(boards: Sequence[Board], epochs: Epochs) -> dict[str, bytes]:
    """What the pictures of sweeps, of epochs and of learning are drawn from."""
    swept = {board.slug: curve_points(board) for board in boards if board.study.layout == "curves"}
    trained = {board.slug: points for board in boards if (points := epoch_points(board, epochs))}
    learned = {board.slug: points for board in boards if (points := learning_points(board))}
    return {
        **{f"{name}-curves.csv": _bytes(to_csv_lines(points, CurvePoint)) for name, points in swept.items()},
        **{f"{name}-epochs.csv": _bytes(to_csv_lines(points, EpochPoint)) for name, points in trained.items()},
        **{f"{name}-learning.csv": _bytes(to_csv_lines(points, LearningPoint)) for name, points in learned.items()},
    }


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def write_files(files: Mapping[str, bytes], out: Path) -> None:
    """Put each file in place in one step; a link of its name is replaced, not followed."""
    try:
        for name, content in files.items():
            write_atomically(out / name, content)
    except OSError as fault:
        raise UserError(
            f"cannot write the report to {out} ({fault.strerror}); choose another folder with --out"
        ) from fault


def _beside(beside: Mapping[str, Sequence[Table]], briefly: bool, width: int | None) -> list[str]:
    """What the terminal shows of the tables beside those of runs; `briefly`: where they are to be had."""
    shown = {name: made for name, made in beside.items() if made}
    if briefly:
        what = {SPEED: "Speed of matching", SHORTLIST: "Shortlists"}
        return [f"{what[name]}, measured by `{MAKERS[name]}`: `bench report --study {name}`." for name in shown]
    return [
        text
        for made in shown.values()
        for text in (*(to_text(table, width) for table in made), notes_text(made[0], width))
    ]


def _draw(
    boards: Sequence[Board],
    epochs: Epochs,
    shortlists: Sequence[Sequence[ShortlistRecord]],
    suffixes: Sequence[str],
) -> tuple[dict[str, dict[str, bytes]], list[str]]:
    """Each board's and shortlist's pictures by the name of their file, and what could not be drawn.

    That costs no table.
    """
    drawings: dict[str, Callable[[Sequence[str]], dict[str, bytes]]] = {
        **{board.slug: partial(_board_pictures, board, epochs) for board in boards},
        **{slug(group): partial(_shortlist_pictures, group) for group in shortlists},
    }
    pictures: dict[str, dict[str, bytes]] = {}
    faults = []
    for name, draw in drawings.items() if suffixes else ():
        try:
            with no_backend():
                pictures[name] = draw(suffixes)
        except Exception as fault:
            why = sentence(f"{type(fault).__name__}: {fault}")
            faults.append(f"the pictures of {name} could not be drawn ({why})")
    return pictures, faults


def _board_pictures(board: Board, epochs: Epochs, suffixes: Sequence[str]) -> dict[str, bytes]:
    # Importing the plotting library takes seconds; tables alone should not wait for it.
    from bench.report.figures import draw

    return draw(board, suffixes, epochs)


def _shortlist_pictures(group: Sequence[ShortlistRecord], suffixes: Sequence[str]) -> dict[str, bytes]:
    from bench.report.shortlist_pictures import draw_shortlists

    return draw_shortlists(group, suffixes)


@contextmanager
def no_backend() -> Iterator[None]:
    """No backend is asked for, which matplotlib would look for when it is imported; a notebook's may not be there."""
    asked = os.environ.pop("MPLBACKEND", None)
    try:
        yield
    finally:
        if asked is not None:
            os.environ["MPLBACKEND"] = asked


def _head(records: Sequence[Record], results: Path) -> list[str]:
    count = f"{len(records)} run{'' if len(records) == 1 else 's'}"
    done = sum(record.is_done() for record in records)
    failed = sum(record.status == "failed" for record in records)
    rest = len(records) - done - failed
    unfinished = f", {rest} unfinished" if rest else ""
    return [one_line(f"{count} in {results}: {done} done, {failed} failed{unfinished}.")]


def _sections(
    boards: Sequence[Board],
    made: Mapping[str, Sequence[Table]],
    pictures: Mapping[str, Mapping[str, bytes]],
    beside: Mapping[str, Sequence[Table]],
) -> list[Section]:
    """The page's sections, those whose runs all stand in another one among them."""
    sections = [
        board_section(board, made[board.slug], pictures.get(board.slug, {}), covered(board, boards)) for board in boards
    ]
    if beside[SHORTLIST]:
        sections.append(shortlist_section(beside[SHORTLIST], pictures))
    return [*sections, speed_section(beside[SPEED])] if beside[SPEED] else sections


def _markdown(
    head: Sequence[str],
    passed_over: Sequence[str],
    boards: Sequence[Board],
    made: Mapping[str, Sequence[Table]],
    pictures: Mapping[str, Mapping[str, bytes]],
    beside: Mapping[str, Sequence[Table]],
) -> str:
    """The whole report as one Markdown file."""
    sections = [_section(board, made[board.slug], pictures.get(board.slug, ())) for board in boards]
    for heading, tables_beside in (("Shortlists", beside[SHORTLIST]), ("Speed", beside[SPEED])):
        if tables_beside:
            images = [_image(table, name) for table in tables_beside for name in pictures.get(table.slug, ())]
            notes = notes_markdown(tables_beside[0])
            sections.append(
                "\n".join([f"## {heading}\n", *map(to_markdown, tables_beside), notes, *filter(None, images)])
            )
    warnings = [*(f"- {escape_markdown(line.strip())}" for line in passed_over), ""] if passed_over else []
    return "\n".join(["# Report", "", *map(escape_markdown, head), "", *warnings, *sections])


def _image(table: Table, name: str) -> str:
    """A picture of what a table shows, "" for a file that is not for Markdown."""
    return f"![{escape_markdown(table.title)}]({name})\n" if name.endswith(".png") else ""


def _section(board: Board, made: Sequence[Table], pictures: Iterable[str]) -> str:
    images = filter(None, (_image(made[0], name) for name in pictures))
    title, notes = escape_markdown(f"{board.study.title}; {board.setting.title}"), notes_markdown(made[0])
    return "\n".join([f"## {title}\n", *map(to_markdown, made), notes, *images])


def _terminal(
    head: Sequence[str], boards: Sequence[Board], made: dict[str, list[Table]], asked: bool, width: int | None
) -> str:
    shown = [board for board in boards if asked or not covered(board, boards)]
    parts = []
    for board in shown:
        parts += [to_text(table, width) for table in made[board.slug]]
        parts.append(notes_text(made[board.slug][0], width))
    hidden = [board for board in boards if board not in shown]
    if hidden:
        names = ", ".join(dict.fromkeys(board.name for board in hidden))
        parts.append(f"Not printed, as all their runs stand above: {names} (`bench report --study {hidden[0].name}`).")
    return "\n\n".join([*head, *parts])
