"""Tables as values: the lines of CSV files, unrounded, of every quantity whether a table shows it or not."""

from __future__ import annotations

import json

from bench.report import notes
from bench.report.board import Board, Row, State
from bench.report.columns import AVERAGES, CHANCE_ERRORS, EXTRA, MACC, PER_TEST, Quantity, Summary
from bench.report.model import Value


def accuracy_values(board: Board) -> list[Value]:
    """Every accuracy of the trained rows."""
    per_test = [(quantity, test) for test in board.tests for quantity in (*PER_TEST, *EXTRA)]
    one_source = board.study.averages and board.study.layout != "sources"
    means = [MACC, *(AVERAGES.values() if one_source else ())]
    return [
        value_of(board, row, quantity, test)
        for row in board.rows
        for quantity, test in [*per_test, *((quantity, "") for quantity in means)]
        if not test or row.is_tested_on(test)
    ]


def value_of(board: Board, row: Row, quantity: Quantity, test: str = "", state: State = "trained") -> Value:
    """A quantity of a row."""
    errors = row.errors_above_chance(test, state) if quantity.key == "mAP" else None
    printed = row.published.value(quantity.key, test) if row.published and state == "trained" else None
    return value_from(board, row, quantity, row.summary(quantity, test, state), test, state, printed, errors)


def value_from(
    board: Board,
    row: Row,
    quantity: Quantity,
    summary: Summary | None,
    test: str = "",
    state: State = "trained",
    printed: float | None = None,
    errors: float | None = None,
) -> Value:
    """What was measured and printed of a quantity."""
    if summary is not None:
        status = "measured"
    elif row.kind == "published":
        status = "published"
    else:
        status = "failed" if row.records and len(row.failures) == len(row.records) else "missing"
    commits = [record.provenance.commit + ("+changes" if record.provenance.dirty else "") for record in row.records]
    rules = [", ".join(result.left_out) or "nothing" for result in row.results(test, state)] if test else []
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
        published=printed,
        at_chance=None if errors is None else errors <= CHANCE_ERRORS,
        errors_above_chance=errors,
        device="; ".join(dict.fromkeys(notes.device(record) for record in row.records)),
        commit="; ".join(dict.fromkeys(commits)),
        left_out="; or ".join(dict.fromkeys(rules)),
    )
