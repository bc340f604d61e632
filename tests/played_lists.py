"""Two runs with ranked lists of drawn pictures, small enough to be followed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from made_up_runs import cells, measured, run
from PIL import Image

from bench.journal.lists import RankedLists, write_lists

ODD = "0001_c1 <script>alert('1')<&script> \"|$x$ 😀.png"
"""The name of the first query's picture."""
LABELS = ("ViT", "cosine")
QUERIES, GALLERY = 3, 14
LEFT_OUT = GALLERY - 1
"""The picture that every list leaves out, at its top."""


def play(results: Path, data: Path) -> None:
    """Write two runs with their lists of Market-1501, and draw the pictures below `data`.

    The first run has every query's right picture first, the second has it at rank 12, behind a surest mistake in the
    last query.
    """
    queries = [ODD, *(f"{number:04}_c1.png" for number in range(2, QUERIES + 1))]
    gallery = [f"g{number:04}_c2.png" for number in range(1, GALLERY + 1)]
    (data / "market").mkdir(parents=True, exist_ok=True)
    for number, name in enumerate([*queries, *gallery]):
        Image.new("RGB", (48, 96), (11 * number, 90, 200)).save(data / "market" / name)
    for label, rank in zip(LABELS, (1, 12), strict=True):
        [cell, *_] = cells(label)
        entries = [_entries(query, rank) for query in range(QUERIES)]
        places, scores, ranks = (np.concatenate(parts) for parts in zip(*entries, strict=True))
        lists = RankedLists(
            test="market",
            fingerprint="market-pictures",
            query_path=[f"market/{name}" for name in queries],
            gallery_path=[f"market/{name}" for name in gallery],
            query_person=np.arange(1, QUERIES + 1),
            query_camera=np.zeros(QUERIES, dtype=np.int64),
            gallery_person=np.arange(1, GALLERY + 1),
            gallery_camera=np.ones(GALLERY, dtype=np.int64),
            start=np.cumsum([0, *(len(own[0]) for own in entries)]),
            gallery=places.astype(np.int32),
            score=scores.astype(np.float32),
            rank=ranks.astype(np.int32),
        )
        name = f"{label}-played"
        result = measured(
            "market",
            float(rank == 1),
            1 / rank,
            query_index=list(range(QUERIES)),
            first_rank=[rank] * QUERIES,
            average_precision=[1 / rank] * QUERIES,
            lists=write_lists(results / "runs" / name, lists),
        )
        run(results, cell, [result], name=name)


def _entries(query: int, right_rank: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gallery, score and rank of a query's list; the right picture is that of the query's number."""
    others = [place for place in range(LEFT_OUT) if place != query]
    order = [*others[: right_rank - 1], query, *others[right_rank - 1 :]]
    counted = [(place, rank) for rank, place in enumerate(order, 1) if rank <= 10 or place == query]
    places, ranks = np.array([(LEFT_OUT, 0), *counted]).T
    surest = 1 if query == QUERIES - 1 else 0
    return places, np.where(ranks == 0, 9.0, 5.0 + surest - ranks / 4), ranks
