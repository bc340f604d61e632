"""Differences for reading: the letters behind mAcc, the matrix of a board, and its lines in files of values."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from bench.report.board import Board, Row
from bench.report.columns import MACC
from bench.report.compared import ALPHA, Differences, Pair
from bench.report.differences import differences
from bench.report.entries import Field
from bench.report.model import APART, Column, DifferenceValue, Footnotes, Text

ALL_SEEDS = "all"


@dataclass(frozen=True)
class MatrixLine:
    """A row of the board minus each other row, over all seeds (None) or of one."""

    row: int
    seed: int | None


@dataclass(frozen=True)
class Matrix:
    """The lines and columns of a table of differences, and what it says of itself."""

    lines: list[MatrixLine]
    fields: list[Field[MatrixLine]]
    explained: tuple[str, ...]


def lettered(board: Board, field: Field[Row]) -> Field[Row]:
    """A column of mAcc with each row's letters behind its value."""

    def entry(row: Row, footnotes: Footnotes) -> Text:
        text = field.entry(row, footnotes)
        found = differences(board).of_row(row)
        return Text(text.body, (*text.marks, found.letters)) if found and found.letters else text

    return Field(field.column, entry)


def letters_legend(board: Board) -> tuple[str, ...]:
    """What the letters of a table mean and rest on, () where it has none."""
    found = differences(board)
    if not any(row.letters for row in found.rows):
        return ()
    shared = "rows that share a letter behind mAcc are not told apart at 5 %, Holm-corrected over the table's pairs"
    return (f"a, b, ...: {shared}; {_resting_on(found)}", *_without(found))


def matrix_of(board: Board) -> Matrix:
    """Above the diagonal the difference of row minus column, below it the interval of such a difference."""
    found = differences(board)
    several = [row for row in found.rows if len(row.seeds) > 1]
    seeds: list[int | None] = [None, *(found.seeds if several else ())]
    lines = [MatrixLine(row, seed) for seed in seeds for row in range(len(found.rows))]
    names = [row.name for row in found.rows]
    fields = [Field(Column("Method", left=True), lambda line, _: Text(f"{line.row + 1} {names[line.row]}"))]
    if several:
        fields.append(Field(Column("seed"), lambda line, _: Text(ALL_SEEDS if line.seed is None else str(line.seed))))
    pairs = {frozenset((pair.first, pair.second)): pair for pair in found.pairs}
    fields += [Field(Column(str(at + 1)), _cell(pairs, at)) for at in range(len(names))]
    sides = "above the diagonal the difference, row minus column; below it the 95 % interval of row minus column"
    explained = (f"{sides}; {_resting_on(found)}", *filter(None, [found.more_seeds]), *_without(found))
    return Matrix(lines, fields, explained)


def difference_values(board: Board) -> list[DifferenceValue]:
    """Every difference of the board: pairs, measures, test sets, all seeds and each seed."""
    setting, found = board.setting, differences(board)
    return [
        DifferenceValue(
            study=board.name,
            preset=setting.preset or "",
            overrides=json.dumps(dict(setting.overrides), sort_keys=True) if setting.overrides else "",
            standin=setting.standin_text or "",
            method=found.rows[pair.first].row.label,
            train=found.rows[pair.first].row.train,
            other=found.rows[pair.second].row.label,
            other_train=found.rows[pair.second].row.train,
            test="" if item.measure.key == MACC.key else item.measure.tests[0],
            quantity=item.measure.key,
            unit="%",
            seed=ALL_SEEDS if item.seed is None else str(item.seed),
            seeds=len(item.seeds),
            difference=item.value,
            low=item.low,
            high=item.high,
            p=item.p,
            p_holm=item.holm,
            persons=item.persons,
            queries=item.queries,
        )
        for pair in found.pairs
        for item in pair.differences
    ]


def _cell(pairs: dict[frozenset[int], Pair], column: int) -> Callable[[MatrixLine, Footnotes], Text]:
    def entry(line: MatrixLine, _: Footnotes) -> Text:
        pair = pairs.get(frozenset((line.row, column)))
        item = pair.of(MACC.key, seed=line.seed) if pair else None
        if item is None:
            return Text()
        if line.row < column:
            return Text(_signed(item.value), (APART,) if item.holm < ALPHA else ())
        return Text(f"{_signed(-item.high)}, {_signed(-item.low)}")

    return entry


def _signed(value: float) -> str:
    text = f"{value:+.1f}"
    return "0.0" if text in ("-0.0", "+0.0") else text


def _resting_on(found: Differences) -> str:
    several = max((len(row.seeds) for row in found.rows), default=1) > 1
    persons = "persons are resampled with all their queries, 9,999 times"
    if not several:
        return f"{persons}; one seed: what another training would give is not in it"
    return f"{persons}, and seeds count as independent trainings tested on the same persons (Satterthwaite's t test)"


def _without(found: Differences) -> tuple[str, ...]:
    if not found.without:
        return ()
    reasons: dict[str, list[str]] = {}
    for name, reason in found.without.items():
        reasons.setdefault(reason, []).append(name)
    again = "`bench run --lists` with the rows' --variants and --train tests them again, without training"
    return tuple(
        f"no intervals for {', '.join(names)}: {reason}" + (f"; {again}" if "before" in reason else "")
        for reason, names in reasons.items()
    )
