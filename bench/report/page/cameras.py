"""Matrices of mistakes by camera pair: which camera's queries are taken for somebody before which other camera."""

from __future__ import annotations

from dataclasses import dataclass

from bench.report.camera_errors import camera_errors
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
    found = camera_errors(head.lists)
    cameras = tuple(camera + 1 for camera in found.gallery_cameras)
    rows = [
        CameraRow(
            camera + 1,
            int(queries),
            (*(_cell(share, other) for share, other in zip(shares, cameras, strict=True)), _cell(shares.sum(), None)),
        )
        for camera, queries, shares in zip(found.query_cameras, found.queries, found.shares, strict=True)
    ]
    return CameraMatrix(test, place, title, cameras, tuple(rows))


def _cell(share: float, camera: int | None) -> Cell:
    return Cell(f"{100 * share:.1f}", sum(share > least for least in SHADES), camera)
