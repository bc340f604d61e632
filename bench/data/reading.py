"""A set as read from disk, before it is trusted: faults are found here, and the sound ones become a `Dataset`."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from bench.data.dataset import STANDIN_MARKER, Dataset, ImageRecord, Split
from bench.data.fingerprint import fingerprint
from bench.errors import UserError

DISTRACTOR = 0
JUNK = -1
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
"""What images of sets are called, in the formats that they are decoded from."""
MOST_PERSON = 2**31 - 1
"""No set numbers its persons as far as this, and training could not."""


class Entry(NamedTuple):
    """One image by its path relative to the set's root, with forward slashes. `person` may be -1 or 0."""

    path: str
    person: int
    camera: int


@dataclass(frozen=True)
class Standin:
    """What a generated set says of itself."""

    size: str
    seed: int
    version: str

    def __str__(self) -> str:
        return f"stand-in data ({self.size}, seed {self.seed})"


@dataclass(frozen=True)
class Reading:
    """What a reader found. `files` has the size of every image on disk, used or not.

    `missing` are images in the lists that are not on disk, `broken` links to nothing and folders named like images,
    `ignored` what is no image, `junk` the number of images of person -1 that were dropped, `missing_hint` what is known
    of such gaps.

    A small set has no training images here; it has `parts`, its folders with all their images, of which `query` and
    `gallery` are those that a split may use, and after `with_splits` also `splits` and where they are from.
    `zero_is_person` tells sets in which person 0 is a person like all others.
    """

    title: str
    root: Path
    train: tuple[Entry, ...]
    query: tuple[Entry, ...]
    gallery: tuple[Entry, ...]
    files: Mapping[str, int]
    release: str = ""
    lists: Mapping[str, bytes] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    others: tuple[Path, ...] = ()
    junk: int = 0
    missing_hint: str = ""
    standin: Standin | None = None
    parts: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    zero_is_person: bool = False
    splits: tuple[Split, ...] = ()
    split_source: str = ""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All images of all splits."""
        return self.train + self.query + self.gallery

    @property
    def used(self) -> dict[str, int]:
        """Image -> size of the images on disk that belong to a split."""
        return {entry.path: self.files[entry.path] for entry in self.entries if entry.path in self.files}


def without_junk(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Drop person -1 and sort by path."""
    return tuple(sorted(entry for entry in entries if entry.person > JUNK))


def without_distractors(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Drop persons -1 and 0 and sort by path: what training and query may hold where 0 means "nobody"."""
    return tuple(entry for entry in without_junk(entries) if entry.person != DISTRACTOR)


def all_images(reading: Reading) -> Reading:
    """The set with all its images for training, persons -1 and 0 left out."""
    return replace(reading, train=without_distractors(reading.entries), query=(), gallery=())


def find_standin(root: Path, data_dir: Path) -> Standin | None:
    """Read the marker of generated sets in `root` or above it, below `data_dir`; None for real data.

    Raises UserError if the marker cannot be understood.
    """
    for folder in (root, *root.parents):
        if folder == data_dir:
            break
        marker = folder / STANDIN_MARKER
        if not marker.is_file():
            continue
        try:
            said = json.loads(marker.read_text(encoding="utf-8"))
            return Standin(str(said["size"]), int(said["seed"]), str(said.get("version", "")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{marker} cannot be read: write the set again with `bench data standin`.") from error
    return None


def set_fingerprint(reading: Reading, digests: Mapping[str, str] | None = None) -> str:
    """Fingerprint the images in use, the lists and, in generated sets, what made them."""
    lists = dict(reading.lists)
    if reading.standin:
        # Sizes alone may agree between two seeds.
        lists[STANDIN_MARKER] = repr(reading.standin).encode()
    return fingerprint(reading.used, lists, digests)


def to_dataset(name: str, reading: Reading, has_test: bool) -> Dataset:
    """Turn a sound reading into a `Dataset`. Raises UserError with the first fault of an unsound one."""
    if fault := next(faults(reading, has_test), None):
        raise UserError(fault)
    return Dataset(
        name=name,
        root=reading.root,
        train=_records(reading.root, reading.train),
        query=_records(reading.root, reading.query),
        gallery=_records(reading.root, reading.gallery),
        fingerprint=set_fingerprint(reading),
        standin=str(reading.standin) if reading.standin else None,
        release=reading.release,
        splits=reading.splits,
        split_source=reading.split_source,
    )


def _records(root: Path, entries: Sequence[Entry]) -> tuple[ImageRecord, ...]:
    return tuple(ImageRecord(root / entry.path, entry.person, entry.camera) for entry in entries)


def faults(reading: Reading, has_test: bool) -> Iterable[str]:
    """Yield what makes the set unusable, one sentence each, the likeliest cause first."""
    where = f"{reading.title} in {reading.root}"
    if reading.missing:
        yield (
            f"{where}: {len(reading.missing):,} of the listed images are not on disk, first"
            f" {reading.root / reading.missing[0]}.{reading.missing_hint} Copy the set again."
        )
    if reading.broken:
        first = reading.root / reading.broken[0]
        yield (
            f"{where}: {len(reading.broken):,} images are folders or links to nothing, first {first}."
            " Copy the files themselves."
        )
    if foreign := [path for path in reading.used if not path.lower().endswith(SUFFIXES)]:
        yield (
            f"{where}: {len(foreign):,} images are not JPEG, PNG or BMP, the formats of the sets, first"
            f" {reading.root / foreign[0]}. Convert them to PNG."
        )
    if beyond := [entry for entry in reading.entries if entry.person > MOST_PERSON]:
        yield (
            f"{where}: {len(beyond):,} images have a person number above {MOST_PERSON:,}, first {beyond[0].path}."
            " The names were changed: copy the set again."
        )
    if empty := [path for path, size in reading.used.items() if size == 0]:
        yield f"{where}: {len(empty):,} images have 0 bytes, first {reading.root / empty[0]}. Copy the set again."
    if twice := _duplicates(reading):
        yield (
            f"{where}: {len(twice):,} images are there twice, first {twice[0]}:"
            " take the second copy or list entry away."
        )
    splits = {"training": reading.train, "query": reading.query, "gallery": reading.gallery}
    needed = ["query", "gallery"] if reading.parts else list(splits) if has_test else ["training"]
    if bare := [split for split in needed if not splits[split]]:
        yield f"{where}: no usable image for {' and '.join(bare)}. Copy the set again."
    elif has_test:
        yield from _overlap(where, reading)
        yield from _no_match(where, reading)


def _duplicates(reading: Reading) -> list[str]:
    """Paths listed twice, and images that lie side by side in two formats (a.jpg and a.png)."""
    # Where a set has no sides, its images are in both lists by design.
    lists = reading.parts.values() if reading.parts else (reading.entries,)
    counts = Counter(entry.path.rpartition(".")[0] for entries in lists for entry in entries)
    return sorted(stem for stem, count in counts.items() if count > 1)


def _overlap(where: str, reading: Reading) -> Iterable[str]:
    tested = {entry.person for entry in reading.query + reading.gallery}
    shared = sorted({entry.person for entry in reading.train} & tested)
    if shared:
        examples = ", ".join(map(str, shared[:5]))
        yield (
            f"{where}: {len(shared):,} persons are both in training and in test, for example {examples}."
            " Test images were mixed into the training set or the other way round: copy the set again."
        )


def _no_match(where: str, reading: Reading) -> Iterable[str]:
    cameras: dict[int, dict[int, Entry]] = {}
    for entry in reading.gallery:
        cameras.setdefault(entry.person, {}).setdefault(entry.camera, entry)
    pairs = [(query, cameras[query.person]) for query in reading.query if query.person in cameras]
    if any(seen.keys() - {query.camera} for query, seen in pairs):
        return
    if not pairs:
        query = reading.query[0]
        yield (
            f"{where}: no query's person is in the gallery, for example person {query.person} of {query.path}."
            " Query and gallery come from different copies: copy the set again."
        )
        return
    query, seen = pairs[0]
    yield (
        f"{where}: no query can be ranked, as every match has the query's own camera, for example query"
        f" {query.path} and gallery {seen[query.camera].path} (camera {query.camera}, counted from 0)."
        " The names were changed or the gallery was cut: copy the set again."
    )
