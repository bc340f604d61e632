"""How many images and persons a data set has, also where it is not at hand: from what was published of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.config import HELD_OUT
from bench.data import Dataset
from bench.data.held_out import held_out_set
from bench.data.own_names import is_own
from bench.data.published import PUBLISHED
from bench.data.registry import absence
from bench.data.sources import load_source, parts_of
from bench.data.standin.layouts import SIZES
from bench.errors import UserError

Known = Literal["found", "published", "stand-in"]

BOTH_WAYS = ("viper",)
"""Sets whose splits are tested in both directions."""


@dataclass(frozen=True)
class SetCounts:
    """Images and persons of a set. `queries` and `gallery` are what a test scores against each other."""

    train: int = 0
    persons: int = 0
    queries: int = 0
    gallery: int = 0
    both_ways: bool = False
    cameras: int = 1
    known: Known = "found"
    """Whether the set was read, or its numbers are those that are published of it or of its stand-in."""

    @property
    def tested(self) -> int:
        """Images of the test, at most."""
        return self.queries + self.gallery


@dataclass(frozen=True)
class Sets:
    """Where data sets are looked for. `standin` is the size of the stand-in data that a preset is made for."""

    data_dir: Path
    standin: str | None = None
    msmt_release: str | None = None
    splits: Sequence[Path] = ()
    own: Mapping[str, Path] | None = None

    def of_source(self, source: str) -> SetCounts:
        """What a network is trained on. Raises UserError for sets that are there and cannot be read."""
        parts = [self.of(name) for name in parts_of(source)]
        if len(parts) == 1:
            return parts[0]
        known = next((part.known for part in parts if part.known != "found"), "found")
        return SetCounts(
            sum(part.train for part in parts),
            sum(part.persons for part in parts),
            cameras=sum(part.cameras for part in parts),
            known=known,
        )

    def of(self, name: str) -> SetCounts:
        """A single set. Raises UserError as `of_source`, and for one of which nothing is known."""
        if is_own(name) or absence(name, self.data_dir, self.msmt_release) is None:
            return _counted(load_source(name, self.data_dir, self.msmt_release, self.splits, self.own))
        return _of_standin(name, self.standin) if self.standin else _published(name)

    def held_out(self, source: str, persons: int) -> SetCounts:
        """The test of the persons that are held out of a source."""
        whole = self.of_source(source)
        if whole.known == "found":
            dataset = load_source(source, self.data_dir, self.msmt_release, self.splits, self.own)
            return _counted(held_out_set(dataset, persons)[0])
        each = whole.train // whole.persons
        queries = persons * max(1, min(each - 1, whole.cameras))
        return SetCounts(queries=queries, gallery=persons * each - queries, known=whole.known)

    def of_test(self, name: str, source: str, held_out: int | None) -> SetCounts:
        """A test set of a run that is trained on a source."""
        return self.held_out(source, held_out or 2) if name == HELD_OUT else self.of(name)


def _counted(dataset: Dataset) -> SetCounts:
    return SetCounts(
        len(dataset.train),
        len({record.person for record in dataset.train}),
        len(dataset.query),
        len(dataset.gallery),
        dataset.both_ways,
        len({record.camera for record in dataset.train}),
    )


def _published(name: str) -> SetCounts:
    found = PUBLISHED[name]
    # Of a small set the images of both sides that any split may use are scored once.
    parts = [part.images for part in found.parts.values()]
    queries, gallery = (parts[0], parts[-1]) if parts else _images(found.query, found.gallery)
    train, persons = (found.train.images, found.train.persons) if found.train else (0, 0)
    return SetCounts(train, persons, queries, gallery, name in BOTH_WAYS, found.cameras, "published")


def _images(*counts: object) -> tuple[int, ...]:
    return tuple(getattr(count, "images", 0) for count in counts)


def _of_standin(name: str, size: str) -> SetCounts:
    base, whole = name.removesuffix("_all"), name.endswith("_all")
    layout = {"cuhk03": "detected", "cuhk03_labeled": "labeled"}.get(base, base)
    counts = getattr(SIZES[size], layout, None)
    if counts is None:
        raise UserError(f"there is no {name} of size {size} to count: `bench data standin --size {size}` writes it")
    gallery = counts.gallery + counts.distractors
    if whole:
        images = counts.train + counts.query + counts.gallery
        return SetCounts(images, counts.train_persons + counts.test_persons, known="stand-in")
    return SetCounts(counts.train, counts.train_persons, counts.query, gallery, known="stand-in")
