"""What a comparison of a board's rows gives: rows, pairs, and their differences with intervals and p values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bench.report.board import Row
from bench.report.columns import MACC
from bench.report.resampling import seeds_to_settle

ALPHA = 0.05


@dataclass(frozen=True)
class Measure:
    """An accuracy: Rank-1 or mAP, the mean over `tests`, or mAcc, the mean of both over them."""

    key: str
    tests: tuple[str, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """What is averaged."""
        return ("rank1", "mAP") if self.key == MACC.key else (self.key,)


@dataclass(frozen=True)
class Estimate:
    """A value or a difference, in percent points, with a 95 % interval.

    `seed` is None for that over all `seeds`; of one seed that is the seed's own.
    """

    measure: Measure
    seed: int | None
    seeds: tuple[int, ...]
    value: float
    low: float
    high: float
    persons: int
    queries: int
    p: float = 1.0
    """Two-sided; of differences alone."""
    holm: float = 1.0
    """Corrected for all pairs of the board that are compared by the same measure and seed."""
    person_error: float = 0.0
    """Standard error, of the drawing of persons alone."""


@dataclass(frozen=True)
class ComparedRow:
    """A row with persons in its records. `letters` are "" where rows have no mAcc."""

    row: Row
    name: str
    seeds: tuple[int, ...]
    headline: tuple[Estimate, ...]
    """mAcc, or what pictures show in its place: of each seed, and last over all seeds; () where none has it."""
    letters: str = ""


@dataclass(frozen=True)
class Pair:
    """The differences first minus second; both are positions in `Differences.rows`."""

    first: int
    second: int
    differences: tuple[Estimate, ...]

    def of(self, key: str, test: str = "", seed: int | None = None) -> Estimate | None:
        """The difference in rank1 or mAP on a test set, or in mAcc: over all common seeds or of one; None without."""
        measured = (item for item in self.differences if item.measure.key == key and item.seed == seed)
        return next((item for item in measured if key == MACC.key or item.measure.tests == (test,)), None)


@dataclass(frozen=True)
class Differences:
    """All pairs of a board's rows; `without` names rows that were tested but cannot be compared, and why."""

    rows: tuple[ComparedRow, ...] = ()
    pairs: tuple[Pair, ...] = ()
    without: Mapping[str, str] | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of any row."""
        return tuple(sorted({seed for row in self.rows for seed in row.seeds}))

    def of_row(self, row: Row) -> ComparedRow | None:
        """A row of the board, None without persons."""
        return next((item for item in self.rows if item.row is row), None)

    def told_apart(self, pair: Pair) -> bool:
        """Whether the mAcc of a pair differs at 5 %, Holm-corrected over the board's pairs."""
        found = pair.of(MACC.key)
        return found is not None and found.holm < ALPHA

    @property
    def more_seeds(self) -> str:
        """A sentence on the pair that is nearest of those not told apart: how many seeds more would settle it."""
        compared = [(found, pair) for pair in self.pairs if (found := pair.of(MACC.key)) is not None]
        close = [(found, pair) for found, pair in compared if found.holm >= ALPHA]
        if not compared:
            return ""
        if not close:
            return "All pairs of rows are told apart by mAcc."
        nearest, pair = min(close, key=lambda item: abs(item[0].value))
        names = f"{self.rows[pair.first].name} and {self.rows[pair.second].name}"
        start = f"The closest pair, {names}, differs by {abs(nearest.value):.2f} in mAcc"
        count = len(nearest.seeds)
        if count > 1:
            each = [found.value for seed in nearest.seeds if (found := pair.of(MACC.key, seed=seed)) is not None]
            spread = float(np.std(each, ddof=1))
            assumed = "if the difference and its spread over the seeds stay as they are and persons do not change"
        else:
            # From one training nothing is known of the others: at best all doubt is theirs, and shrinks with them.
            spread = nearest.person_error
            assumed = "as one seed shows no spread: if trainings scatter as little as the persons' interval is wide"
        more = seeds_to_settle(
            nearest.value, nearest.person_error, nearest.persons, spread, count, ALPHA / len(compared)
        )
        if more is None:
            return f"{start}: no number of seeds more would settle it, persons are too few ({assumed})."
        return f"{start}: {more} more {'seed' if more == 1 else 'seeds'} would settle it ({assumed})."
