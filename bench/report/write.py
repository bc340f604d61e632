"""The report as a whole: which tables and pictures, in which files, and what to print."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.config import one_of
from bench.errors import UserError
from bench.journal.record import Record, read_records, write_atomically
from bench.perf.records import read_perf
from bench.report.board import Board
from bench.report.collect import collect, covered
from bench.report.layout import tables
from bench.report.model import FORMATS, Table
from bench.report.render import notes_markdown, notes_text, to_csv, to_latex, to_markdown, to_text
from bench.report.speed import speed_tables
from bench.study.plan import study_names

MARKDOWN = "report.md"

SPEED = "speed"
"""Chosen like a study: the tables of `bench perf`."""


@dataclass(frozen=True)
class Report:
    """What was made: text for the terminal and the files written."""

    text: str
    files: tuple[Path, ...]


def write_report(
    results: Path,
    out: Path,
    studies: Sequence[str] | None = None,
    formats: Sequence[str] | None = None,
    width: int | None = None,
) -> Report:
    """Draw tables and pictures from the records below `results` and write them to the folder `out`.

    `studies` chooses tables of the paper (default: all that have runs), `formats` some of FORMATS (default: all),
    `width` is that of the terminal (default: no limit). Raises UserError where there are no runs, for unknown
    studies or formats, and for an `out` among the runs, which reports never touch.
    """
    for name in studies or ():
        one_of("study", name, (*study_names(), SPEED))
    wanted = [one_of("format", name, FORMATS) for name in formats or FORMATS]
    if out.resolve().is_relative_to((results / "runs").resolve()):
        raise UserError(f"--out {out} lies among the runs, which a report only reads; choose another folder")
    records = list(read_records(results))
    speed = speed_tables(list(read_perf(results))) if not studies or SPEED in studies else []
    if not records and not speed:
        raise UserError(
            f"there are no runs in {results}; to make some: bench run --variants all --train msmt --preset demo"
        )
    papers = [name for name in studies or () if name != SPEED]
    boards = collect(records, papers or None) if papers or not studies else []
    made = {board.slug: tables(board) for board in boards}
    pictures = _draw(boards, out) if "figures" in wanted else {}
    files = [path for paths in pictures.values() for path in paths]
    for board in boards:
        files += _write_tables(made[board.slug], out, wanted)
    files += _write_tables(speed, out, wanted)
    head = _head(records, results)
    if "markdown" in wanted:
        sections = [_section(board, made[board.slug], pictures.get(board.slug, [])) for board in boards]
        if speed:
            sections.append("\n".join(["## Speed\n", *map(to_markdown, speed), notes_markdown(speed[0])]))
        text = "\n".join(["# Report", "", *head, "", *sections])
        write_atomically(out / MARKDOWN, text.encode())
        files.insert(0, out / MARKDOWN)
    parts = [_terminal(head, boards, made, bool(studies), width)]
    if speed and boards and not studies:
        parts.append("Speed of matching, measured by `bench perf`: `bench report --study speed`.")
    elif speed:
        parts += [*(to_text(table, width) for table in speed), notes_text(speed[0], width)]
    return Report("\n\n".join(parts), tuple(files))


def _write_tables(made: Sequence[Table], out: Path, wanted: Sequence[str]) -> list[Path]:
    writers: dict[str, tuple[str, Callable[[Table], str]]] = {"latex": (".tex", to_latex), "csv": (".csv", to_csv)}
    files = []
    for table in made:
        for suffix, render in (writers[name] for name in wanted if name in writers):
            path = out / f"{table.slug}{suffix}"
            write_atomically(path, render(table).encode())
            files.append(path)
    return files


def _draw(boards: Sequence[Board], out: Path) -> dict[str, list[Path]]:
    # Importing the plotting libraries takes seconds; tables alone should not wait for them.
    from bench.report.figures import draw

    return {board.slug: draw(board, out) for board in boards}


def _head(records: Sequence[Record], results: Path) -> list[str]:
    done = sum(record.is_done() for record in records)
    failed = sum(record.status == "failed" for record in records)
    rest = len(records) - done - failed
    unfinished = f", {rest} unfinished" if rest else ""
    return [f"{len(records)} runs in {results}: {done} done, {failed} failed{unfinished}."]


def _section(board: Board, made: Sequence[Table], pictures: Sequence[Path]) -> str:
    images = [f"![{made[0].title}]({path.name})\n" for path in pictures if path.suffix == ".png"]
    notes = notes_markdown(made[0])
    return "\n".join([f"## {board.study.title}; {board.setting.title}\n", *map(to_markdown, made), notes, *images])


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
