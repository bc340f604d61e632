"""What is measured, as rows of two lists that all tables, files and pictures loop over.

A new column is a new `Quantity`. Values are kept in `unit` (percent, seconds, bytes, counts) and scaled only where
they are shown.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.journal.record import Level, Record, TestResult

Scales = tuple[tuple[float, str], ...]
"""(factor, name) from the smallest to the largest display unit."""

CHANCE_ERRORS = 2
"""Standard errors above chance up to which a row counts as at chance."""

SECONDS: Scales = ((1, "s"), (60, "min"), (3600, "h"))
BYTES: Scales = ((1, "B"), (2**10, "KiB"), (2**20, "MiB"), (2**30, "GiB"))
COUNTS: Scales = ((1, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"))


@dataclass(frozen=True)
class Measurement:
    """What one quantity of one run is read from: results by test set, and the run (None for chance and pixels)."""

    results: Mapping[str, Level | TestResult]
    tests: tuple[str, ...]
    """All test sets that belong to the training set."""
    record: Record | None = None


@dataclass(frozen=True)
class Quantity:
    """One kind of number. `of` reads it from a measurement, for a test set where that matters; None if not there."""

    key: str
    heading: str
    unit: str
    better: Literal["higher", "lower"]
    of: Callable[[Measurement, str], float | None]
    group: str = ""
    """Heading shared with neighbouring columns."""
    digits: int | None = None
    """Decimals shown; None: three significant digits."""
    scales: Scales = ((1, ""),)

    def show(self, value: float, factor: float = 1) -> str:
        """`value` for reading, divided by `factor`."""
        value = value / factor
        digits = self.digits if self.digits is not None else 0 if abs(value) >= 99.95 else 1 if abs(value) >= 10 else 2
        return f"{value:,.{digits}f}"

    def scale(self, values: Sequence[float]) -> tuple[float, str]:
        """The largest display unit in which the smallest value is still at least a half."""
        smallest = min((value for value in values if value > 0), default=0.0)
        return next((scale for scale in reversed(self.scales) if smallest / scale[0] >= 0.5), self.scales[0])


@dataclass(frozen=True)
class Summary:
    """A quantity over the seeds of a row. `spread` is the sample standard deviation, None for a single seed."""

    mean: float
    spread: float | None
    best: float
    count: int


def summarise(quantity: Quantity, values: Sequence[float]) -> Summary | None:
    """Mean, spread and best of the seeds' values; None without values."""
    if not values:
        return None
    spread = statistics.stdev(values) if len(values) > 1 else None
    best = max(values) if quantity.better == "higher" else min(values)
    return Summary(statistics.fmean(values), spread, best, len(values))


def errors_above_chance(results: Sequence[TestResult]) -> float:
    """By how many standard errors the mAP of a row's seeds on one test set is above chance.

    The standard error of a seed is that of its mean over queries, of several splits that of one split's mean, since
    splits share their persons; seeds are averaged.
    """
    gain = statistics.fmean(result.mAP - result.chance.mAP for result in results)
    error = statistics.fmean(_standard_error_of(result) for result in results)
    if error == 0:
        return math.copysign(math.inf, gain) if gain else 0.0
    return gain / error


def at_chance(results: Sequence[TestResult]) -> bool:
    """Whether the mAP of a row's seeds on one test set is not above chance by two standard errors."""
    return errors_above_chance(results) <= CHANCE_ERRORS


def _standard_error_of(result: TestResult) -> float:
    ends = list(itertools.accumulate(split.queries for split in result.splits)) or [len(result.average_precision)]
    return statistics.fmean(
        _standard_error(result.average_precision[start:end]) for start, end in itertools.pairwise([0, *ends])
    )


def _standard_error(values: Sequence[float]) -> float:
    # With a single query nothing can be told from chance.
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else math.inf


def _percent(field: str) -> Callable[[Measurement, str], float | None]:
    def read(measurement: Measurement, test: str) -> float | None:
        return 100 * getattr(measurement.results[test], field) if test in measurement.results else None

    return read


def _of_result(read: Callable[[TestResult], float | None]) -> Callable[[Measurement, str], float | None]:
    """In percent, from a share of 1 that only a test has, or only one by this version of the suite."""

    def of(measurement: Measurement, test: str) -> float | None:
        result = measurement.results.get(test)
        share = read(result) if isinstance(result, TestResult) else None
        return None if share is None else 100 * share

    return of


def _among_first(rank: int) -> Callable[[TestResult], float | None]:
    return lambda result: result.cmc[rank - 1] if len(result.cmc) >= rank else None


def _first_split(field: str) -> Callable[[TestResult], float | None]:
    def read(result: TestResult) -> float | None:
        shares = [getattr(split, field) for split in result.splits if split.split == 0]
        return statistics.fmean(shares) if shares else None

    return read


def _over_splits(field: str) -> Callable[[TestResult], float | None]:
    def read(result: TestResult) -> float | None:
        spread = result.spread_over_splits
        return None if spread is None else getattr(spread, field)

    return read


def _average(field: str) -> Callable[[Measurement, str], float | None]:
    def read(measurement: Measurement, _test: str) -> float | None:
        if not measurement.tests or any(test not in measurement.results for test in measurement.tests):
            return None
        return 100 * statistics.fmean(getattr(measurement.results[test], field) for test in measurement.tests)

    return read


def _mean_accuracy(measurement: Measurement, _test: str) -> float | None:
    if not measurement.tests or any(test not in measurement.results for test in measurement.tests):
        return None
    levels = [measurement.results[test] for test in measurement.tests]
    return 100 * statistics.fmean(value for level in levels for value in (level.rank1, level.mAP))


def _of_run(read: Callable[[Record], float | None]) -> Callable[[Measurement, str], float | None]:
    """A cost: only runs that were trained have one."""

    def read_finished(measurement: Measurement, _test: str) -> float | None:
        record = measurement.record
        return read(record) if record is not None and record.weights_hash is not None else None

    return read_finished


def _pair_rate(record: Record) -> float | None:
    trained = [result for result in record.tests if result.state == "trained"]
    seconds = sum(result.seconds.get("matching", 0.0) for result in trained)
    return sum(result.pairs for result in trained) / seconds if seconds > 0 else None


PER_TEST = (
    Quantity("rank1", "Rank-1", "%", "higher", _percent("rank1"), digits=1),
    Quantity("mAP", "mAP", "%", "higher", _percent("mAP"), digits=1),
)
"""Accuracies on one test set."""

EXTRA = (
    Quantity("rank5", "Rank-5", "%", "higher", _of_result(_among_first(5)), digits=1),
    Quantity("rank10", "Rank-10", "%", "higher", _of_result(_among_first(10)), digits=1),
    Quantity("mINP", "mINP", "%", "higher", _of_result(lambda result: result.mINP), digits=1),
)
"""Accuracies on one test set that tables show on request, and files of values always."""

SPLITS = {
    key: (
        Quantity(f"{key}_over_splits", "± splits", "%", "lower", _of_result(_over_splits(key)), digits=1),
        Quantity(f"{key}_split0", "split 0", "%", "higher", _of_result(_first_split(key)), digits=1),
    )
    for key in ("rank1", "mAP")
}
"""By accuracy on a small set: its sample standard deviation over the splits of a seed, and its value on split 0."""

AVERAGES = {
    quantity.key: Quantity(
        f"average_{quantity.key}", quantity.heading, "%", "higher", _average(quantity.key), "average", digits=1
    )
    for quantity in PER_TEST
}
"""Means of one accuracy over all test sets, as the tables of the protocols print them; only where all are there."""

MACC = Quantity("mAcc", "mAcc", "%", "higher", _mean_accuracy, digits=2)
"""Mean of all Rank-1 and mAP over all test sets [P, appendix A]; only where all test sets are there."""

TIME = Quantity(
    "training_seconds",
    "measured",
    "s",
    "lower",
    _of_run(lambda run: run.training_seconds or None),
    "training time",
    scales=SECONDS,
)
PAIR_RATE = Quantity("pairs_per_second", "pairs/s", "1/s", "higher", _of_run(_pair_rate), "matching", scales=COUNTS)

COSTS = (
    TIME,
    Quantity(
        "peak_bytes", "training, peak", "bytes", "lower", _of_run(lambda run: run.peak_bytes), "memory", scales=BYTES
    ),
    Quantity(
        "bytes_per_image",
        "gallery image",
        "bytes",
        "lower",
        _of_run(lambda run: run.bytes_per_image),
        "memory",
        scales=BYTES,
    ),
    Quantity(
        "parameters",
        "all",
        "1",
        "lower",
        _of_run(lambda run: sum(run.parameters.values()) or None),
        "parameters",
        scales=COUNTS,
    ),
    Quantity(
        "head_parameters",
        "head",
        "1",
        "lower",
        _of_run(lambda run: run.parameters.get("head")),
        "parameters",
        scales=COUNTS,
    ),
    PAIR_RATE,
)
"""What a row costs: training with sampling but without evaluation, then what a matcher in use needs."""
