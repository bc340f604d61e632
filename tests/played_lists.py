"""Two runs with ranked lists of drawn pictures, small enough to be followed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from made_up_runs import cells, measured, run
from PIL import Image

from bench.journal.lists import Entry

ODD = "0001_c1 <script>alert('1')<&script> \"|$x$ 😀.png"
"""The name of the first query's picture."""
LABELS = ("ViT", "cosine")
QUERIES, GALLERY = 3, 14


class PlayedLists(NamedTuple):
    """Lists as a run has them, each query's entries given outright."""

    test: str
    query_path: list[str]
    gallery_path: list[str]
    query_person: np.ndarray
    query_camera: np.ndarray
    gallery_person: np.ndarray
    gallery_camera: np.ndarray
    entries: list[list[Entry]]

    def of(self, query: int) -> list[Entry]:
        return self.entries[query]


def play(results: Path, data: Path, draw: bool = True) -> dict[str, PlayedLists]:
    """Write two runs, and draw their pictures below `data`; their lists of Market-1501 by the name of the run.

    The first run has every query's right picture first, the second has it at rank 12, behind a surest mistake in the
    last query. One more picture is left out of both.
    """
    queries = [ODD, *(f"{number:04}_c1.png" for number in range(2, QUERIES + 1))]
    gallery = [f"g{number:04}_c2.png" for number in range(1, GALLERY + 1)]
    for number, name in enumerate([*queries, *gallery] if draw else []):
        (data / "market").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (48, 96), (7 * number % 255, 90, 200)).save(data / "market" / name)
    found = {}
    for label, rank in zip(LABELS, (1, 12), strict=True):
        lists = PlayedLists(
            "market",
            [f"market/{name}" for name in queries],
            [f"market/{name}" for name in gallery],
            np.arange(1, QUERIES + 1),
            np.zeros(QUERIES, dtype=int),
            np.arange(1, GALLERY + 1),
            np.ones(GALLERY, dtype=int),
            [_entries(query, rank) for query in range(QUERIES)],
        )
        result = measured(
            "market",
            float(rank == 1),
            1 / rank,
            query_index=list(range(QUERIES)),
            first_rank=[rank] * QUERIES,
            average_precision=[1 / rank] * QUERIES,
        )
        record = run(results, cells(label)[0], [result])
        found[record.cell] = lists
    return found


def _entries(query: int, right_rank: int) -> list[Entry]:
    """The right picture is that of the query's number; the last one is left out."""
    others = [place for place in range(GALLERY - 1) if place != query]
    order = [*others[: right_rank - 1], query, *others[right_rank - 1 :]]
    surest = 1 if query == QUERIES - 1 else 0
    counted = [
        Entry(place, 5.0 + surest - rank / 4, rank, "right" if place == query else "wrong")
        for rank, place in enumerate(order, 1)
        if rank <= 10 or place == query
    ]
    return [Entry(GALLERY - 1, 9.0, 0, "left out"), *counted]
