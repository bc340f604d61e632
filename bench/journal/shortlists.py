"""What shortlists cost and keep: one small file for each run, the run whose vectors choose, and test set.

<results>/shortlists/<run>-<digest>.json    this file's `ShortlistRecord`
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from bench.config import Settings, digest
from bench.journal.reading import Unreadable, as_json, listed, read_json
from bench.journal.record import Count, Provenance, Share, write_atomically

FOLDER = "shortlists"
NOTHING_LOST = 0.0005
"""Of mAP, in shares of 1: a shortlist that costs no more than this loses nothing."""

Positive = Annotated[float, Field(gt=0, lt=1e15)]


class ShortlistPoint(Settings):
    """Accuracy and cost where a run's head scores the `length` gallery images that a vector finds best.

    0 is the vector alone, the whole gallery the head alone, without a search by vectors.
    """

    length: Count
    rank1: Share
    mAP: Share
    bytes_per_image: Count
    """What is kept of a gallery picture, vector and representation together."""
    seconds: list[Positive] = Field(min_length=1)
    """Of single queries: the search by vectors, then the head on the shortlist; encoding the query is not counted."""

    @property
    def queries_per_second(self) -> float:
        """By the median query."""
        return 1 / statistics.median(self.seconds)


class ShortlistRecord(Settings):
    """The curve of one run's head behind the vectors of another run, on one test set."""

    run: str
    label: str
    by: str
    by_label: str
    train: str
    seed: int
    preset: str | None
    standin: str | None
    test: str
    fingerprint: str
    """Of the test set."""
    queries: Count
    gallery_images: Count
    threads: Count
    provenance: Provenance
    points: list[ShortlistPoint] = Field(min_length=2)
    """By length: first the vector alone, last the whole gallery."""

    @property
    def alone(self) -> ShortlistPoint:
        """The vector without any head behind it."""
        return self.points[0]

    @property
    def curve(self) -> list[ShortlistPoint]:
        """The points where the head scores something."""
        return self.points[1:]

    @property
    def lossless(self) -> ShortlistPoint:
        """The shortest list from which on no longer one has a mAP more than NOTHING_LOST below the whole gallery's."""
        found = whole = self.points[-1]
        for point in reversed(self.curve):
            if point.mAP < whole.mAP - NOTHING_LOST:
                break
            found = point
        return found


def write_shortlist(results: Path, record: ShortlistRecord) -> Path:
    """Store a record; one of the same two runs and test set is replaced."""
    path = results / FOLDER / f"{record.run}-{digest([record.by, record.test])[:8]}.json"
    write_atomically(path, as_json(record, indent=1) + b"\n")
    return path


def read_shortlists(results: Path, unreadable: list[Unreadable]) -> Iterator[ShortlistRecord]:
    """All records of shortlists below a results folder, by name; those that cannot be read join `unreadable`."""
    for path in listed(results / FOLDER):
        if path.suffix != ".json" or path.name.startswith("."):
            continue
        try:
            record = read_json(path, ShortlistRecord, "delete it, and `bench shortlist` measures anew")
        except Unreadable as fault:
            unreadable.append(fault)
            continue
        if record is not None:
            yield record
