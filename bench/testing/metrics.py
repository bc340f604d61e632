"""Rank-1, CMC, mAP and mINP of single-query person re-identification (PROTOCOL, section 4).

Everything follows from counts: how many gallery images score at least as high as each match. So a query's scores need
no sorting where its matches are few, and queries can be ranked as they are scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.testing.lists import ENTRY, Lists, ranked_list

CMC_RANKS = 20
MANY_MATCHES = 150
"""From about so many matches of a query on, sorting all scores takes less time than counting those above each."""


@dataclass(frozen=True)
class QueryRanks:
    """Per-query results. `index` [n]: positions, among the queries given, of those with a match left."""

    index: NDArray[np.int64]
    first_rank: NDArray[np.int64]
    """Rank of the first match, from 1; among equal scores negatives come first."""
    average_precision: NDArray[np.float64]
    """Step sum: recall gain x precision, equal scores one threshold (scikit-learn's definition)."""
    average_precision_trapezoid: NDArray[np.float64]
    """The field's other form: precision averaged over the two ends of each recall step."""
    gallery_left: NDArray[np.int64]
    """Gallery images left after the same-camera rule."""
    matches_left: NDArray[np.int64]
    last_rank: NDArray[np.int64]
    """Rank of the last match, from 1; among equal scores negatives come first."""
    person: NDArray[np.int64]
    camera: NDArray[np.int64]

    @staticmethod
    def join(parts: list[QueryRanks]) -> QueryRanks:
        """The queries of all parts, in order; the indices must already be those of the whole."""
        fields = QueryRanks.__dataclass_fields__
        return QueryRanks(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in fields})


@dataclass(frozen=True)
class RankMetrics:
    """Means over the queries that count. All are shares of 1."""

    rank1: float
    mAP: float
    cmc: NDArray[np.float64]
    """[20]: shares of queries with a match among the first 1 to 20."""
    mAP_trapezoid: float
    mINP: float
    """Mean of a query's matches / rank of the last of them (Ye et al., "Deep Learning for Person Re-identification: A
    Survey and Outlook", TPAMI 2021)."""
    queries: QueryRanks


def rank_metrics(
    distance: NDArray,
    query_ids: NDArray,
    gallery_ids: NDArray,
    query_cams: NDArray,
    gallery_cams: NDArray,
) -> RankMetrics:
    """Rank-1, CMC and mAP from distances [Q, G]; ids and cameras are integers, [Q] and [G].

    For each query, gallery images of the same person and camera are left out; a query without a match left counts
    nowhere. Raises ValueError for shapes that do not fit, NaN, or if no query has a match left.
    """
    scores = -np.asarray(distance)
    return summarise(rank_queries(scores, query_ids, gallery_ids, query_cams, gallery_cams))


def rank_queries(
    scores: NDArray,
    query_ids: NDArray,
    gallery_ids: NDArray,
    query_cams: NDArray,
    gallery_cams: NDArray,
    first_index: int = 0,
    lists: Lists | None = None,
    groups: Sequence[tuple[NDArray, NDArray]] = (),
) -> QueryRanks:
    """Per-query results from scores [Q, G], higher = more alike; queries without a match left are dropped.

    Left out for a query are gallery images of its person and camera, unless its camera is negative (unknown), and, of
    each pair of `groups` [Q] and [G], those of the query's own group, match or not, unless that is negative.

    `first_index` is the position of the first query in the whole list, for scores that come in chunks. `lists` is given
    the ranked list of each query. Raises ValueError for shapes that do not fit or NaN scores.
    """
    if scores.shape != (len(query_ids), len(gallery_ids)):
        raise ValueError(
            f"scores are {scores.shape}, but there are {len(query_ids)} queries, {len(gallery_ids)} images"
        )
    if len(query_cams) != len(query_ids) or len(gallery_cams) != len(gallery_ids):
        raise ValueError("each query and each gallery image needs one id and one camera")
    if np.isnan(scores).any():
        raise ValueError("some scores are NaN: no ranking follows from them")
    rows = []
    for position, row in enumerate(scores):
        same = gallery_ids == query_ids[position]
        own = np.flatnonzero(same)
        same_camera = (gallery_cams[own] == query_cams[position]) & (query_cams[position] >= 0)
        right, left_out, entries = own[~same_camera], own[same_camera], np.empty(0, ENTRY)
        if groups:
            in_group = _in_groups(groups, position)
            in_group[left_out] = True
            right, left_out = right[~in_group[right]], np.flatnonzero(in_group)
            same |= in_group
            own = np.flatnonzero(same)
        if len(right):
            matches = np.sort(row[right])[::-1]
            others_at_least = _at_least(row, matches) - _at_least_sorted(np.sort(row[own]), matches)
            first, last, *precisions = _one_query(matches, others_at_least)
            sizes = len(right) + len(row) - len(own), len(right)
            of_query = query_ids[position], query_cams[position]
            rows.append((position + first_index, first, *precisions, *sizes, last, *of_query))
            if lists is not None:
                entries = ranked_list(row, same, right, left_out, others_at_least)
        if lists is not None:
            lists.parts.append(entries)
    kinds = (np.int64, np.int64, np.float64, np.float64, *[np.int64] * 5)
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(kinds)
    return QueryRanks(*(np.array(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True)))


def summarise(queries: QueryRanks) -> RankMetrics:
    """Means over queries. Raises ValueError if there is none."""
    if len(queries.index) == 0:
        raise ValueError(
            "no query has a match left in the gallery: every match is the query's own camera's, its own image or of "
            "its own sequence, and those are left out"
        )
    ranks = np.arange(1, CMC_RANKS + 1)
    cmc = (queries.first_rank[:, None] <= ranks).mean(axis=0)
    return RankMetrics(
        rank1=float(cmc[0]),
        mAP=float(queries.average_precision.mean()),
        cmc=cmc,
        mAP_trapezoid=float(queries.average_precision_trapezoid.mean()),
        mINP=float((queries.matches_left / queries.last_rank).mean()),
        queries=queries,
    )


def chance_level(queries: QueryRanks) -> tuple[float, float]:
    """Rank-1 and mAP that random scores without ties reach on average over these queries.

    With k matches among n images the first is one with probability k/n, and the expected average precision is
    (H_n + (k-1)/(n-1) * (n - H_n)) / n with the harmonic number H_n.
    """
    n, k = queries.gallery_left.astype(float), queries.matches_left.astype(float)
    harmonic = np.cumsum(1 / np.arange(1, n.max() + 1))[queries.gallery_left - 1]
    others = np.where(n > 1, (k - 1) / np.maximum(n - 1, 1), 0.0)
    return float((k / n).mean()), float(((harmonic + others * (n - harmonic)) / n).mean())


def _at_least(row: NDArray, matches: NDArray) -> NDArray[np.int64]:
    """[n]: how many of all scores are at least as high as each of the matches'."""
    if len(matches) > MANY_MATCHES:
        return _at_least_sorted(np.sort(row), matches)
    return np.array([np.count_nonzero(row >= match) for match in matches])


def _at_least_sorted(ascending: NDArray, matches: NDArray) -> NDArray[np.int64]:
    return len(ascending) - np.searchsorted(ascending, matches, side="left")


def _in_groups(groups: Sequence[tuple[NDArray, NDArray]], position: int) -> NDArray[np.bool_]:
    """[G]: the gallery images of a query's own group in any of the pairs."""
    return np.any([(gallery == query[position]) & (query[position] >= 0) for query, gallery in groups], axis=0)


def _one_query(matches: NDArray, others_at_least: NDArray[np.int64]) -> tuple[int, int, float, float]:
    """First and last rank, average precisions; from the matches' scores, descending, and how many others reach each."""
    matches_at_least = _at_least_sorted(matches[::-1], matches)
    precision = matches_at_least / (matches_at_least + others_at_least)
    # Without ties: precision just before each match, where the trapezoid of its recall step begins.
    before = np.arange(len(matches))
    seen = before + others_at_least
    before_precision = np.where(seen > 0, before / np.maximum(seen, 1), 1.0)
    return (
        int(others_at_least[0]) + 1,
        int(others_at_least[-1]) + len(matches),
        float(precision.mean()),
        float((before_precision + matches_at_least / (matches_at_least + others_at_least)).mean() / 2),
    )
