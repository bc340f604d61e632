"""A table as terminal text, Markdown, LaTeX and CSV.

Labels may hold any characters. In every form they come out as they are; what breaks lines, steers a terminal or is no
text at all is written as escapes, such as `\\x1b`.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from itertools import groupby
from typing import TypeVar

import pandas as pd
from tabulate import tabulate

from bench.progress import one_line
from bench.report.curves import CurvePoint
from bench.report.model import Column, DifferenceValue, ShortlistValue, Table, Text, Value

Line = TypeVar("Line", Value, DifferenceValue, ShortlistValue, CurvePoint)

NOTE_WIDTH = 160
"""Characters to which notes are wrapped where the terminal does not say."""

LATEX_CHARACTERS = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "†": r"$\dagger$",
    "≠": r"$\neq$",
    "‡": r"$\ddagger$",
    "→": r"$\rightarrow$",
    "✓": r"$\checkmark$",
    # Behind a line's end, LaTeX takes these for the end's own arguments.
    **{character: f"{{{character}}}" for character in "[]*"},
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
}

MARKDOWN_CHARACTERS = r"\`*_[]<>|~&$#"
"""What GitHub's Markdown, mathematics included, may take for a sign of its own inside a line."""

FORMULA_STARTS = ("=", "+", "-", "@")
"""What spreadsheets take for the start of a formula."""


def to_text(table: Table, width: int | None = None) -> str:
    """The table for a terminal of `width` columns; wider tables are continued below, under the same first column."""
    parts = [_grid(table, columns) for columns in _pages(table, width)]
    numbered = [f"[{number}] {text}" for number, text in enumerate(table.footnotes, 1)]
    below = _wrapped((*numbered, *table.legend), width)
    return "\n".join([*map(one_line, [table.title, *([table.banner] if table.banner else [])]), "", *parts, *below])


def notes_text(table: Table, width: int | None = None) -> str:
    """The notes that the tables of one board share, for the terminal."""
    return "\n".join(["Notes on the tables above:", *_wrapped(table.notes, width)])


def to_markdown(table: Table) -> str:
    """The table as a section of a Markdown file (GitHub's dialect)."""
    rows = [[_markdown(text) for text in row] for row in table.rows]
    headers = [escape_markdown(column.full) for column in table.columns]
    align = ["left" if column.left else "right" for column in table.columns]
    grid = tabulate(rows, headers, tablefmt="pipe", disable_numparse=True, colalign=align)
    notes = [f"- <sup>{number}</sup> {escape_markdown(text)}" for number, text in enumerate(table.footnotes, 1)]
    notes += [f"- {escape_markdown(text)}" for text in table.legend]
    banner = [f"> **{escape_markdown(table.banner)}**", ""] if table.banner else []
    return "\n".join([f"### {escape_markdown(table.title)}", "", *banner, grid, "", *notes, ""])


def notes_markdown(table: Table) -> str:
    """The notes that the tables of one board share."""
    return "\n".join(["Notes:", "", *(f"- {escape_markdown(text)}" for text in table.notes), ""])


def to_latex(table: Table) -> str:
    r"""A `table*` with booktabs rules; needs \usepackage{booktabs,amssymb}."""
    title = escape_latex(table.title)
    caption = f"{title}. \\textbf{{{escape_latex(table.banner)}}}" if table.banner else f"{title}."
    numbered = [f"\\textsuperscript{{{number}}}~{escape_latex(text)}" for number, text in enumerate(table.footnotes, 1)]
    notes = [*numbered, *(escape_latex(text) for text in (*table.legend, *table.notes))]
    lines = [
        "% needs \\usepackage{booktabs,amssymb}",
        *([f"% {one_line(table.banner)}"] if table.banner else []),
        "\\begin{table*}",
        "\\centering\\small\\setlength{\\tabcolsep}{4pt}",
        f"\\caption{{{caption}}}",
        f"\\begin{{tabular}}{{{''.join('l' if column.left else 'r' for column in table.columns)}}}",
        "\\toprule",
        *_latex_headings(table.columns),
        "\\midrule",
        *(" & ".join(_latex(text) for text in row) + " \\\\" for row in table.rows),
        "\\bottomrule",
        "\\end{tabular}",
        *(f"\\par\\footnotesize {note}" for note in notes),
        "\\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def to_csv(table: Table) -> str:
    """The table's values in long form, one quantity of one row a line, at full precision.

    Texts that a spreadsheet would take for a formula have an apostrophe before them.
    """
    return to_csv_lines(table.values, table.value_kind)


def to_csv_lines(lines: Sequence[Line], kind: type[Line]) -> str:
    """Lines of one kind as a CSV file, as `to_csv`."""
    names = [field.name for field in fields(kind)]
    rows = [{name: _csv(value) for name, value in asdict(line).items()} for line in lines]
    frame = pd.DataFrame(rows, columns=names)
    buffer = io.StringIO()
    frame.to_csv(buffer, index=False, lineterminator="\n")
    return buffer.getvalue()


def escape_latex(text: str) -> str:
    """`text` with every character that LaTeX would take as a command, or its fonts lack, written out."""
    escaped = "".join(LATEX_CHARACTERS.get(character, character) for character in one_line(text))
    # Two of these make one sign of another kind.
    return re.sub(r"(?<=-)-|(?<=')'|(?<=,),", r"{}\g<0>", escaped)


def escape_markdown(text: str) -> str:
    """`text` with a backslash before all that Markdown would take as a sign of its own."""
    text = "".join(f"\\{letter}" if letter in MARKDOWN_CHARACTERS else letter for letter in one_line(text))
    # At the start of a line these begin a list.
    return re.sub(r"^(\d*)([-+.)])(?=\s)", r"\1\\\2", text)


def _csv(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if text.lstrip().startswith(FORMULA_STARTS) else text


def _wrapped(lines: Iterable[str], width: int | None) -> list[str]:
    options = {"width": max(width or NOTE_WIDTH, 40), "initial_indent": "  ", "subsequent_indent": "      "}
    return [part for line in lines for part in textwrap.wrap(one_line(line), **options)]


def _pages(table: Table, width: int | None) -> list[list[int]]:
    """Positions of the columns to print together: all of them, or as many as fit into `width` characters."""
    sizes = [_size(table, index) for index in range(len(table.columns))]
    if width is None:
        return [list(range(len(sizes)))]
    pages, used = [[0]], sizes[0]
    for index in range(1, len(sizes)):
        if used + 2 + sizes[index] > width and len(pages[-1]) > 1:
            pages.append([0])
            used = sizes[0]
        pages[-1].append(index)
        used += 2 + sizes[index]
    return pages


def _size(table: Table, index: int) -> int:
    """Characters that a column takes."""
    entries = (_plain(row[index]) for row in table.rows)
    return max(len(text) for text in (*_heading_lines(table.columns, index), *entries))


def _grid(table: Table, columns: Sequence[int]) -> str:
    chosen = [table.columns[index] for index in columns]
    headings = [list(line) for line in zip(*(_heading_lines(chosen, at) for at in range(len(chosen))), strict=True)]
    rules = ["-" * _size(table, index) for index in columns]
    rows = [[_plain(row[index]) for index in columns] for row in table.rows]
    align = ["left" if column.left else "right" for column in chosen]
    return tabulate([*headings, rules, *rows], tablefmt="plain", disable_numparse=True, colalign=align) + "\n"


def _heading_lines(columns: Sequence[Column], index: int) -> list[str]:
    """The group above its first column only, then the column's own heading."""
    column = columns[index]
    first = index == 0 or columns[index - 1].group != column.group
    return [one_line(column.group) if first else "", one_line(column.heading)]


def _plain(text: Text) -> str:
    marks = "".join(f"[{mark}]" if mark.isdigit() else mark for mark in text.marks)
    return f"{one_line(text.body)} {marks}".strip()


def _markdown(text: Text) -> str:
    marks = ",".join(text.marks)
    return escape_markdown(text.body) + (f"<sup>{escape_markdown(marks)}</sup>" if marks else "")


def _latex(text: Text) -> str:
    marks = ",".join(escape_latex(mark) for mark in text.marks)
    return escape_latex(text.body) + (f"\\textsuperscript{{{marks}}}" if marks else "")


def _latex_headings(columns: Sequence[Column]) -> list[str]:
    """A line of groups with a rule below each, then the columns' own headings."""
    groups, rules, position = [], [], 1
    for name, members in groupby(columns, key=lambda column: column.group):
        count = len(list(members))
        groups.append(f"\\multicolumn{{{count}}}{{c}}{{{escape_latex(name)}}}" if name else " & ".join([""] * count))
        if name:
            rules.append(f"\\cmidrule(lr){{{position}-{position + count - 1}}}")
        position += count
    own = " & ".join(escape_latex(column.heading) for column in columns) + " \\\\"
    return [" & ".join(groups) + " \\\\", "".join(rules), own] if rules else [own]
