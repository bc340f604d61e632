"""What a set will be before an image of it is drawn, and how images and cameras are dealt to persons."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bench.data.standin.cameras import Shot
from bench.data.standin.domains import DOMAINS

TRAIN, TEST, DISTRACTORS, FAILED = 0, 1, 2, 3
"""Splits of a domain: persons of different splits are different draws even where their numbers are the same."""


class PlannedImage(NamedTuple):
    """One image to be drawn: its path below the set's folder, the person its name states (-1 and 0 as in
    Market-1501), the part it belongs to (train, val, query, gallery) and what decides its pixels."""

    path: str
    person: int
    part: str
    shot: Shot


@dataclass(frozen=True)
class SetPlan:
    """One set: `folder` below the root, `images`, other `files` as (path, bytes), and the folders that get a marker."""

    folder: str
    images: tuple[PlannedImage, ...]
    files: tuple[tuple[str, bytes], ...]
    marked: tuple[str, ...]


def spread(total: int, persons: int) -> list[int]:
    """`total` images over `persons` as evenly as whole numbers allow."""
    return [total * (i + 1) // persons - total * i // persons for i in range(persons)]


def cameras_of(domain: str, split: int, person: int, least: int) -> list[int]:
    """The cameras that see a person: at least two and at least `least`, the same at every size and seed."""
    rng = np.random.default_rng([DOMAINS[domain].key, split, person])
    cameras = DOMAINS[domain].cameras
    many = int(rng.integers(2, min(cameras, 6) + 1))
    return [int(c) for c in rng.permutation(cameras)[: max(many, least)]]
