"""Local matches of the pairs that a page shows, as its script reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Levels = Sequence[tuple[float, str]]
"""Of one pair, for each level its score and its matches: bytes in base64, for each match the cell in the query, the
cell in the gallery picture (each two bytes, the low one first, where a grid has more than 256 cells), and the strength:
0 where the similarity does not pass the threshold."""


@dataclass(frozen=True)
class HeadMatches:
    """The local matches of one head on one test set; `told` says what they are, or why there are none."""

    told: str
    grid: tuple[int, int] | None = None
    """Rows and columns of the feature map, whose cells are counted row by row."""
    levels: tuple[str, ...] = ()
    by_pair: Mapping[tuple[int, int], Levels] = field(default_factory=dict)

    def of(self, query: int, gallery: int) -> Levels | None:
        """Those of a pair, by its places among queries and gallery of the lists; None if there are none."""
        return self.by_pair.get((query, gallery))


NOT_ASKED = HeadMatches(
    "This page was made without local matches; `bench report --format html --matches` computes them."
)
