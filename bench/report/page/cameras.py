"""Matrices of mistakes by camera pair: which camera's queries are taken for somebody before which other camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.report.page.explorer import TestedHead, TestShown

SHADES = (0.0, 0.05, 0.1, 0.2, 0.4)
"""A share above the first, second, ... of these has shade 1, 2, ...; the same in all matrices, so that they compare."""


@dataclass(frozen=True)
class Cell:
    """Share of a query camera's queries in percent; `camera` is the gallery's, None for all of them together."""

    text: str
    shade: int
    camera: int | None


@dataclass(frozen=True)
class CameraRow:
    """The queries of one camera."""

    camera: int
    queries: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class CameraMatrix:
    """The mistakes of one head on one test set, which the script knows by their numbers. Cameras count from 1."""

    test: int
    head: int
    title: str
    cameras: tuple[int, ...]
    rows: tuple[CameraRow, ...]


def camera_matrices(number: int, test: TestShown) -> list[CameraMatrix]:
    """One matrix for each head of the test set of this number, over all of its queries."""
    return [
        _matrix(number, place, f"{name} on {test.title}", head)
        for place, (name, head) in enumerate(zip(test.names, test.heads, strict=True))
    ]


def _matrix(test: int, place: int, title: str, head: TestedHead) -> CameraMatrix:
    lists = head.lists
    nearest = lists.gallery[lists.rank == 1]
    asked, found = lists.query_camera[lists.queries], lists.gallery_camera[nearest]
    wrong = lists.gallery_person[nearest] != lists.query_person[lists.queries]
    cameras = np.unique(lists.gallery_camera)
    rows = []
    for camera in np.unique(asked):
        own = asked == camera
        shares = [(wrong & own & (found == other)).sum() / own.sum() for other in cameras]
        cells = [_cell(share, int(other) + 1) for share, other in zip(shares, cameras, strict=True)]
        rows.append(CameraRow(int(camera) + 1, int(own.sum()), (*cells, _cell(float(wrong[own].mean()), None))))
    return CameraMatrix(test, place, title, tuple(int(camera) + 1 for camera in cameras), tuple(rows))


def _cell(share: float, camera: int | None) -> Cell:
    return Cell(f"{100 * share:.1f}", sum(share > least for least in SHADES), camera)
