"""What a data set is to the rest of the suite: three lists of images, how they are split, and a fingerprint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

STANDIN_MARKER = "STAND-IN.json"
"""File in the root folder of every generated set: {"size", "seed", "version"}; real sets have none."""


class ImageRecord(NamedTuple):
    """One image. `person` >= 0 (0 may be a distractor in a gallery), `camera` >= 0."""

    path: Path
    person: int
    camera: int


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

    @property
    def both_ways(self) -> bool:
        """Whether some split looks for the gallery's images among the queries."""
        return any(split.swapped for split in self.splits)

    @property
    def one_side(self) -> bool:
        """Whether any image may be query or gallery, as the splits say: both lists hold the same images."""
        return bool(self.splits) and [one.path for one in self.query] == [one.path for one in self.gallery]
