"""What a data set is to the rest of the suite: three lists of images and a fingerprint."""

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
class Dataset:
    """One person re-identification set as found on disk.

    `query` and `gallery` are empty for sets that are for training only. `standin` is None for real data, else
    a short description such as "stand-in data (demo, seed 0)". `release` names the version where several
    circulate (MSMT17 "V1" or "V2"), else "".
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
