"""Luck of the draw: intervals and p values from resampling persons, since queries of one person are not independent.

Everything here is linear in what a test gave its queries. A `Sample` keeps, for each person of a test set, sums and
counts over that person's queries, so that a resample of persons is a product of matrices, for all differences at once.

Z: values of all samples behind one another; K: contrasts, each a weighting of the Z values such as "row 1's mAP minus
row 2's"; P: persons; S: splits; V: values of a sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 9999
LEVEL = 0.95
_BATCH = 1000
"""Resamples in memory at a time."""


@dataclass(frozen=True)
class Sample:
    """One test set's values by person. `sums` [P, S, V] over a person's queries in a split, `counts` [P, S] of them.

    A test set without splits has one. A small set's splits share their persons, so a person is drawn together with
    all that it gave in all splits; the value is the mean over splits of the mean over queries, as in the tables.
    Drawing within split 0 alone would throw away nine tenths of what was measured, drawing splits would take them for
    independent.
    """

    sums: Floats
    counts: Floats

    @property
    def persons(self) -> int:
        """P."""
        return len(self.counts)

    @property
    def queries(self) -> int:
        """Queries over all splits."""
        return int(self.counts.sum())

    def values(self, weights: Floats) -> Floats:
        """The values [..., V] where each person counts as often as `weights` [..., P] says; a split without any of
        the persons drawn is left out of the mean."""
        splits = self.counts.shape[1]
        sums = (weights @ self.sums.reshape(self.persons, -1)).reshape(*weights.shape[:-1], splits, -1)
        counts = (weights @ self.counts)[..., None]
        means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
        return means.sum(axis=-2) / (counts > 0).sum(axis=-2)

    def shares(self) -> Floats:
        """What each person adds to the values, [P, V]: their sum is the values."""
        return (self.sums / self.counts.sum(axis=0)[:, None]).mean(axis=1)


def sample(persons: Sequence[int], splits: Sequence[int], values: Floats) -> Sample:
    """The sample of queries [Q] with their persons, the numbers of their splits, and values [Q, V]."""
    _, person = np.unique(np.asarray(persons), return_inverse=True)
    _, split = np.unique(np.asarray(splits), return_inverse=True)
    shape = (person.max() + 1, split.max() + 1)
    sums, counts = np.zeros((*shape, values.shape[1])), np.zeros(shape)
    np.add.at(sums, (person, split), values)
    np.add.at(counts, (person, split), 1.0)
    return Sample(sums, counts)


@dataclass(frozen=True)
class Intervals:
    """Contrasts [K], the ends of their intervals, and their standard errors: standard deviations over resamples."""

    value: Floats
    low: Floats
    high: Floats
    error: Floats


def intervals(
    samples: Sequence[Sample], contrasts: Floats, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> Intervals:
    """Intervals of `contrasts` [Z, K], by drawing persons with replacement, within each sample.

    Percentile intervals, expanded as Hesterberg does ("What Teachers Should Know About the Bootstrap", The American
    Statistician 2015, section 4): of n persons, plain percentiles are too narrow by the root of (n - 1)/n and by normal
    quantiles in place of Student's; the asked level is raised by both, with n of the smallest sample. Simulations in
    the tests show what they cover. Raises ValueError for a sample of fewer than two persons.
    """
    from scipy.stats import bootstrap, norm, t

    fewest = min(item.persons for item in samples)
    if fewest < 2:
        raise ValueError("persons can be resampled only where there are two or more")
    expanded = 2 * norm.cdf(t.ppf((1 + level) / 2, fewest - 1) * math.sqrt(fewest / (fewest - 1))) - 1

    def statistic(*drawn: NDArray[np.int64], axis: int = -1) -> Floats:
        parts = [item.values(_times_drawn(places, item.persons)) for item, places in zip(samples, drawn, strict=True)]
        return np.moveaxis(np.concatenate(parts, axis=-1) @ contrasts, -1, 0)

    places = tuple(np.arange(item.persons) for item in samples)
    found = bootstrap(
        places,
        statistic,
        n_resamples=resamples,
        batch=_BATCH,
        vectorized=True,
        confidence_level=expanded,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    ends = found.confidence_interval
    return Intervals(statistic(*places), ends.low, ends.high, found.standard_error)


def swapping(samples: Sequence[Sample], contrasts: Floats, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Two-sided p values [K] of differences: how often they are as large if the two rows of a contrast are swapped
    for a random half of the persons.

    A person is swapped with all queries, in all splits. Where there are fewer ways to swap than resamples, all are
    tried.
    """
    from scipy.stats import permutation_test

    starts = np.cumsum([0, *(item.sums.shape[2] for item in samples)])
    shares = [
        item.shares() @ contrasts[start:end] for item, start, end in zip(samples, starts, starts[1:], strict=False)
    ]
    of_person = np.concatenate(shares)
    found = permutation_test(
        (np.ones(len(of_person)),),
        lambda signs, axis=-1: signs @ of_person,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=_BATCH,
        rng=np.random.default_rng(seed),
    )
    return np.asarray(found.pvalue)


@dataclass(frozen=True)
class Crossed:
    """A mean over several trainings, with what persons and trainings both make uncertain."""

    value: float
    low: float
    high: float
    p: float


def crossed(values: Sequence[float], person_error: float, persons: int, level: float = LEVEL) -> Crossed:
    """Mean of the trainings' `values`, all tested on the same persons, where both were drawn at random.

    Trainings are independent of one another, their queries are not: `person_error` is the standard error of the mean
    over the trainings when persons are drawn, each with its queries of all trainings, and does not shrink with more of
    them. Its square and that of the trainings' own standard error add up; Student's degrees of freedom are
    Satterthwaite's. This is the analysis of many readers on the same cases (Obuchowski and Rockette, "Hypothesis
    testing of diagnostic accuracy for multiple readers and multiple tests", Communications in Statistics 1995), and
    errs on the side of wide intervals.
    """
    from scipy.stats import t

    mean = float(np.mean(values))
    error, freedom = _both(person_error, persons, float(np.std(values, ddof=1)), len(values))
    if error == 0:
        return Crossed(mean, mean, mean, 1.0 if mean == 0 else 0.0)
    half = float(t.ppf((1 + level) / 2, freedom)) * error
    return Crossed(mean, mean - half, mean + half, float(2 * t.sf(abs(mean) / error, freedom)))


def seeds_to_settle(
    mean: float, person_error: float, persons: int, spread: float, seeds: int, alpha: float, most: int = 1000
) -> int | None:
    """How many trainings more would make a difference significant at `alpha`, if `mean` and `spread`, the trainings'
    sample standard deviation, stayed as they are. None where more than `most` would be needed, or persons are too few
    for any number."""
    from scipy.stats import t

    for number in range(seeds + 1, most + 1):
        error, freedom = _both(person_error, persons, spread, number)
        if error == 0 or abs(mean) > t.ppf(1 - alpha / 2, freedom) * error:
            return number - seeds if mean else None
    return None


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for being several (Holm, Scandinavian Journal of Statistics 1979), in the order given."""
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def groups_not_apart(count: int, apart: Sequence[tuple[int, int]]) -> list[frozenset[int]]:
    """The fewest groups of `count` things, numbered from 0, so that two share one exactly if they are not told apart.

    Each thing is in at least one. By inserting and absorbing (Piepho, "An Algorithm for a Letter-Based Representation
    of All-Pairwise Comparisons", Journal of Computational and Graphical Statistics 2004); in the order of their firsts.
    """
    groups = {frozenset(range(count))} if count else set()
    for pair in apart:
        halves = {group - {one} for group in groups if group >= {*pair} for one in pair}
        kept = {group for group in groups if not group >= {*pair}} | halves
        groups = {group for group in kept if not any(group < other for other in kept)}
    return sorted(groups, key=sorted)


def _both(person_error: float, persons: int, spread: float, trainings: int) -> tuple[float, float]:
    """Standard error and degrees of freedom of a mean over trainings."""
    of_persons, of_trainings = person_error**2, spread**2 / trainings
    whole = of_persons + of_trainings
    doubt = of_persons**2 / (persons - 1) + of_trainings**2 / (trainings - 1)
    return math.sqrt(whole), whole**2 / doubt if doubt > 0 else math.inf


def _times_drawn(places: NDArray[np.int64], persons: int) -> Floats:
    """How often each person was drawn, [..., P], from the places drawn, [..., P]."""
    flat = places.reshape(-1, persons)
    moved = flat + persons * np.arange(len(flat))[:, None]
    counted = np.bincount(moved.ravel(), minlength=flat.size).astype(np.float64)
    return counted.reshape(places.shape)
