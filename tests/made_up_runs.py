"""Records with made-up numbers, and what tables make of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd

from bench.journal.record import Level, Provenance, Record, read_records, write_record
from bench.journal.record import TestResult as Result
from bench.report.board import Board
from bench.report.collect import collect
from bench.report.model import Table
from bench.report.render import to_csv
from bench.study.definition import load_preset, load_study
from bench.study.plan import Cell, plan, resolve

STANDIN = "stand-in data (demo, seed 0)"


SPREAD_AP = [0.0, 1.0] * 50
"""Average precisions with mean 0.5, sample standard deviation 0.5025 and so a standard error of 0.05025."""


def cells(label: str, study: str = "table2", preset: str | None = None, train: str = "msmt") -> list[Cell]:
    """The cells of one row of a study, by seed."""
    planned = plan(load_study(study), load_preset(preset), {}, train=[train])
    return [cell for cell in planned if cell.label == label]


def measured(test: str, rank1: float, mAP: float, **changes: Any) -> Result:
    """A result whose matching ran at 1000 pairs in 2 seconds, far above chance unless changed."""
    values: dict[str, Any] = {
        "test": test,
        "state": "trained",
        "rank1": rank1,
        "mAP": mAP,
        "mAP_trapezoid": mAP,
        "cmc": [rank1] * 20,
        "query_index": list(range(100)),
        "first_rank": [1] * 100,
        "average_precision": SPREAD_AP,
        "gallery_images": 10,
        "chance": Level(rank1=0.01, mAP=0.02),
        "fingerprint": f"{test}-pictures",
        "seconds": {"encoding": 1.0, "matching": 2.0, "ranking": 0.5},
        "pairs": 1000,
        "peak_bytes": 2**28,
    }
    return Result(**(values | changes))


def run(results: Path, cell: Cell, tests: list[Result], name: str = "", **changes: Any) -> Record:
    """Write a finished run of a cell, with `changes` to the record's fields, into `results`."""
    provenance = {
        "commit": "1111111111",
        "dirty": False,
        "versions": {"torch": "2.6.0"},
        "device": "NVIDIA H200",
        "cpu": "a CPU",
        "host": "h",
        "started": "2025-01-01T00:00:00",
        "finished": "2025-01-01T01:00:00",
    } | changes.pop("provenance", {})
    values: dict[str, Any] = {
        "cell": name or f"{cell.label.replace(' ', '')}-{cell.config.train}-{cell.config.seed}",
        "status": "done",
        "label": cell.label,
        "config": resolve(cell.config, "cuda", "bf16"),
        "numerics": cell.numerics,
        "weights_hash": None if changes.get("status") == "failed" else "0" * 64,
        "fingerprint": "training-pictures",
        "standin": None,
        "preset": None,
        "overrides": {},
        "provenance": Provenance(**provenance),
        "tests": tests,
        "seconds": {"sampling": 600.0, "training": 3000.0},
        "peak_bytes": 3 * 2**30,
        "bytes_per_image": 2048,
        "parameters": {"backbone": 9_000_000, "head": 1_000_000},
    }
    record = Record(**(values | changes))
    write_record(results / "runs" / record.cell, record)
    return record


def both(cuhk03: tuple[float, float], market: tuple[float, float], **changes: Any) -> list[Result]:
    """Results on both test sets of MSMT17-trained rows."""
    return [measured("cuhk03", *cuhk03, **changes), measured("market", *market, **changes)]


def board_of(results: Path, study: str = "table2") -> Board:
    """The first board of a study from the records below `results`."""
    return collect(read_records(results), [study])[0]


def values_of(table: Table, method: str, quantity: str, test: str = "") -> pd.Series:
    """The one line of a table's CSV file for a quantity of a method."""
    frame = pd.read_csv(io.StringIO(to_csv(table)), keep_default_na=True)
    chosen = frame[(frame.method == method) & (frame.quantity == quantity)]
    chosen = chosen[chosen.test == test] if test else chosen[chosen.test.isna()]
    assert len(chosen) == 1
    return chosen.iloc[0]


def entry(table: Table, method: str, column: str, group: str = "") -> str:
    """An entry as the terminal shows it."""
    position = next(at for at, item in enumerate(table.columns) if (item.heading, item.group) == (column, group))
    row = next(row for row in table.rows if row[0].body == method)
    marks = "".join(f"[{mark}]" if mark.isdigit() else mark for mark in row[position].marks)
    return f"{row[position].body} {marks}".strip()
