"""The paper's own numbers, from results/paper.yaml. Nothing is computed from them."""

from __future__ import annotations

from functools import cache
from importlib import resources

from bench.config import Settings, validate
from bench.values import read_yaml

Accuracy = tuple[float | None, float | None]
"""Rank-1 and mAP in percent; None where the paper prints a dash."""


HOUR = 3600
"""Seconds of the unit in which the paper's tables give training times."""


class PublishedRow(Settings):
    """One row as printed. Accuracies in percent, `hours` or `seconds` of training; absent values are None."""

    label: str
    train: str
    cite: str = ""
    venue: str = ""
    net: str = ""
    d: int | None = None
    D: int | None = None
    N: int | None = None
    hours: float | None = None
    seconds: float | None = None
    tests: dict[str, Accuracy] = {}
    mAcc: float | None = None
    source: str = ""
    """Where the row is from, if not from the table's own source."""
    note: str = ""

    def value(self, quantity: str, test: str = "") -> float | None:
        """The printed value of a quantity in its own unit (bench.report.columns), None if there is none."""
        if quantity in ("rank1", "mAP"):
            return self.tests.get(test, (None, None))[quantity == "mAP"]
        if quantity == "training_seconds":
            return self.seconds if self.hours is None else self.hours * HOUR
        return self.mAcc if quantity == "mAcc" else None


class PublishedTable(Settings):
    """One table of the paper, or numbers of its text that belong together."""

    title: str
    source: str
    notes: list[str] = []
    rows: list[PublishedRow]

    def row(self, label: str, train: str) -> PublishedRow | None:
        """The row of a method trained on a set, None if the paper has none."""
        return next((row for row in self.rows if row.label == label and row.train == train), None)


@cache
def load_published() -> dict[str, PublishedTable]:
    """All published tables by key: table1, table2, table3, variants, times, tableD."""
    text = resources.files("results").joinpath("paper.yaml").read_text(encoding="utf-8")
    return {
        key: validate(PublishedTable, table, f"results/paper.yaml, {key}")
        for key, table in read_yaml(text, "results/paper.yaml").items()
    }
