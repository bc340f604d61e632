"""What a data set is to the rest of the suite: three lists of images, how they are split, and a fingerprint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

STANDIN_MARKER = "STAND-IN.json"
"""File in the root folder of every generated set: {"size", "seed", "version"}; real sets have none."""


UNKNOWN = -1
"""Camera or sequence of an image of which it is not known."""

Box = tuple[int, int, int, int]
"""Left, top, right and bottom edge in pixels; right and bottom are the first pixel outside."""

Rule = Literal["camera", "itself", "sequence"]
"""Why a gallery image does not count for a query: it shows the same person to the same camera, it is the query's own
image, or it is of the query's own sequence, whoever it shows."""


class ImageRecord(NamedTuple):
    """One image. `person` >= 0 (0 may be a distractor in a gallery), `camera` and `sequence` >= 0, or UNKNOWN.

    With a `box` the image is that part of the picture at `path`.
    """

    path: Path
    person: int
    camera: int
    box: Box | None = None
    sequence: int = UNKNOWN


@dataclass(frozen=True)
class Split:
    """One of the tests of a small set: `query` and `gallery` are positions in the set's lists of these names.

    `number` counts from 0. `swapped` turns the test round: the gallery's images are looked for among the queries.
    """

    number: int
    query: tuple[int, ...]
    gallery: tuple[int, ...]
    swapped: bool = False


@dataclass(frozen=True)
class Dataset:
    """One person re-identification set as found on disk.

    `query` and `gallery` are empty for sets that are for training only. `standin` is None for real data, else
    a short description such as "stand-in data (demo, seed 0)". `release` names the version where several
    circulate (MSMT17 "V1" or "V2"), else "".

    A small set is tested on `splits`, and its result is the mean over them: `query` and `gallery` then hold the images
    of both sides that any split may use, and `split_source` says where the splits are from. Other sets have none.
    """

    name: str
    root: Path
    train: tuple[ImageRecord, ...]
    query: tuple[ImageRecord, ...]
    gallery: tuple[ImageRecord, ...]
    fingerprint: str
    standin: str | None = None
    release: str = ""
    parts: tuple[Dataset, ...] = ()
    """The sets whose training images, one after the other, this one is made of; () for a single set."""
    splits: tuple[Split, ...] = ()
    split_source: str = ""
    shares_images: bool = False
    """Whether some images are both query and gallery."""

    @property
    def both_ways(self) -> bool:
        """Whether some split looks for the gallery's images among the queries."""
        return any(split.swapped for split in self.splits)

    @cached_property
    def one_side(self) -> bool:
        """Whether any image may be query or gallery: both lists hold the same images."""
        return self._shares and [*map(_image, self.query)] == [*map(_image, self.gallery)]

    @cached_property
    def test_images(self) -> tuple[ImageRecord, ...]:
        """The queries, then those of the gallery that are no queries: each image once."""
        if not self._shares:
            return self.query + self.gallery
        known = {*map(_image, self.query)}
        return self.query + tuple(record for record in self.gallery if _image(record) not in known)

    @cached_property
    def sides(self) -> tuple[Sequence[int], Sequence[int]]:
        """Positions of the queries and of the gallery among `test_images`."""
        queries, images = len(self.query), len(self.test_images)
        if not self._shares:
            return range(queries), range(queries, images)
        places = {_image(record): place for place, record in enumerate(self.test_images)}
        query, gallery = ([places[_image(record)] for record in side] for side in (self.query, self.gallery))
        return query, gallery

    @cached_property
    def left_out(self) -> tuple[Rule, ...]:
        """The rules by which some gallery image may not count for a query."""
        if self.splits:
            return ("camera",)
        found: dict[Rule, bool] = {
            "camera": any(record.camera != UNKNOWN for record in self.query),
            "itself": self.shares_images,
            "sequence": any(record.sequence != UNKNOWN for record in self.query),
        }
        return tuple(rule for rule, holds in found.items() if holds)

    @cached_property
    def groups(self) -> tuple[tuple[Sequence[int], Sequence[int]], ...]:
        """Of each rule but that of cameras, a number for each query [Q] and for each gallery image [G].

        A gallery image of the query's own number, unless that is UNKNOWN, does not count for it.
        """
        found = [self.sides] if "itself" in self.left_out else []
        if "sequence" in self.left_out:
            query, gallery = ([record.sequence for record in side] for side in (self.query, self.gallery))
            found.append((query, gallery))
        return tuple(found)

    @property
    def _shares(self) -> bool:
        return self.shares_images or bool(self.splits)


def may_match(query: ImageRecord, other: ImageRecord) -> bool:
    """Whether a gallery image of a query's person counts for it: it is of another camera and sequence, and not it."""
    return (
        (query.camera == UNKNOWN or other.camera != query.camera)
        and (query.sequence == UNKNOWN or other.sequence != query.sequence)
        and _image(other) != _image(query)
    )


def has_match(queries: Iterable[ImageRecord], gallery: Iterable[ImageRecord]) -> bool:
    """Whether any query has a match that counts."""
    of_person: dict[int, list[ImageRecord]] = {}
    for record in gallery:
        of_person.setdefault(record.person, []).append(record)
    return any(may_match(query, other) for query in queries for other in of_person.get(query.person, ()))


def _image(record: ImageRecord) -> tuple[Path, Box | None]:
    """What makes two records the same image."""
    return record.path, record.box
