"""Errors by camera pair: which camera's image stands first where the first is a wrong one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.journal.lists import RankedLists


@dataclass(frozen=True, eq=False)
class CameraErrors:
    """Counts of queries whose first image is wrong, by the query's camera and that of the image.

    Q cameras of queries that have a list, and G cameras of the gallery; both ascending.
    """

    query_cameras: tuple[int, ...]
    gallery_cameras: tuple[int, ...]
    errors: NDArray[np.int64]
    """[Q, G]."""
    queries: NDArray[np.int64]
    """[Q]: queries that have a list."""

    @property
    def shares(self) -> NDArray[np.float64]:
        """[Q, G]: errors as shares of the camera's queries; a row's sum is 1 - Rank-1 of these queries."""
        return self.errors / self.queries[:, None]


def camera_errors(lists: RankedLists) -> CameraErrors:
    """The errors of a test by camera pair, from its ranked lists."""
    first = np.flatnonzero(lists.rank == 1)
    query = np.searchsorted(lists.start, first, side="right") - 1
    image = lists.gallery[first]
    wrong = lists.gallery_person[image] != lists.query_person[query]
    query_cameras, row = np.unique(lists.query_camera[query], return_inverse=True)
    gallery_cameras = np.unique(lists.gallery_camera)
    column = np.searchsorted(gallery_cameras, lists.gallery_camera[image])
    errors = np.zeros((len(query_cameras), len(gallery_cameras)), dtype=np.int64)
    np.add.at(errors, (row[wrong], column[wrong]), 1)
    queries = np.bincount(row, minlength=len(query_cameras))
    return CameraErrors(tuple(query_cameras.tolist()), tuple(gallery_cameras.tolist()), errors, queries)
