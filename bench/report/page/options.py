"""What can be asked of a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

IMAGES = ("thumbnails", "none")
MOST_QUERIES = 100
"""Queries of a test set, unless another number is asked for."""
MOST_MEGABYTES = 10.0
"""Size of a page in millions of bytes, unless another is asked for: what most mail takes."""


@dataclass(frozen=True)
class PageOptions:
    """`data_dir` is where the pictures are. `queries` are shown of each test set; None: 100, or as many as fit."""

    data_dir: Path = Path("data")
    queries: int | None = None
    megabytes: float = MOST_MEGABYTES
    images: Literal["thumbnails", "none"] = "thumbnails"
    matches: bool = False
    """Whether to compute the local matches of the pairs shown, which takes the runs' checkpoints."""
    device: str = "auto"
