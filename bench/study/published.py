"""Published numbers: the paper's own (results/paper.yaml) and those of others since (results/literature.yaml).

Nothing is computed from them.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Literal

from bench.config import Settings, validate
from bench.values import read_yaml

Accuracy = tuple[float | None, float | None]
"""Rank-1 and mAP in percent; None where the paper prints a dash."""


AVERAGE = "average"
"""Instead of a test set, and of a training set: the averages that a table prints."""

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
        if quantity.startswith("average_"):
            return self.value(quantity.removeprefix("average_"), AVERAGE)
        if quantity in ("rank1", "mAP"):
            return self.tests.get(test, (None, None))[quantity == "mAP"]
        if quantity == "training_seconds":
            return self.seconds if self.hours is None else self.hours * HOUR
        return self.mAcc if quantity == "mAcc" else None


class PublishedTable(Settings):
    """One table of the paper, or numbers of its text that belong together."""

    title: str = ""
    source: str = ""
    """Where they are from; "" in studies of one's own that do not say."""
    notes: list[str] = []
    rows: list[PublishedRow]
    by: Literal["paper", "literature"] = "paper"
    """Whose results these are: the paper's, or others' as well."""

    def row(self, label: str, train: str) -> PublishedRow | None:
        """The row of a method trained on a set, None if the paper has none."""
        return next((row for row in self.rows if row.label == label and row.train == train), None)


@cache
def load_published() -> dict[str, PublishedTable]:
    """All published tables by the name of the study beside which they stand."""
    return {
        key: validate(PublishedTable, {**table, "by": by}, f"results/{by}.yaml, {key}")
        for by in ("paper", "literature")
        for key, table in read_yaml(
            resources.files("results").joinpath(f"{by}.yaml").read_text(encoding="utf-8"), f"{by}.yaml"
        ).items()
    }
