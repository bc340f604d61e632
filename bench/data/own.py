"""Sets of one's own, each a CSV file (`own_table`): pictures looked for, faults found, a `Dataset` made of them."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.data.dataset import STANDIN_MARKER, Dataset, ImageRecord, has_match
from bench.data.fingerprint import fingerprint
from bench.data.own_names import LETTERS, digest_of
from bench.data.own_table import OwnTable, read_table
from bench.data.reading import SUFFIXES, Standin
from bench.errors import UserError

TABLE = "table.csv"
"""What the file is called in a fingerprint, whatever its own name."""


@dataclass(frozen=True)
class OwnReading:
    """What was found of a set. `sizes` has the bytes of each picture that is there, by its path in the file."""

    table: OwnTable
    sizes: Mapping[str, int]
    missing: Mapping[str, str]
    """Path in the file -> why there is no such picture."""
    standin: str | None

    @property
    def root(self) -> Path:
        """The folder to which paths are relative."""
        return self.table.file.parent

    @cached_property
    def train(self) -> tuple[ImageRecord, ...]:
        """The training images, in the order of the file."""
        return self._records([split == "train" for split in self.table.split])

    @cached_property
    def query(self) -> tuple[ImageRecord, ...]:
        """The queries."""
        return self._records(self._tested(self.table.query))

    @cached_property
    def gallery(self) -> tuple[ImageRecord, ...]:
        """The images that they are compared with."""
        return self._records(self._tested(self.table.gallery))

    @cached_property
    def test_split(self) -> str:
        """What is tested on: "test" where some line says so, else "validation"."""
        return "test" if "test" in self.table.split else "validation"

    @property
    def fingerprint(self) -> str:
        """Of the names and sizes of the pictures and of the file, boxes included."""
        return fingerprint(self.sizes, {TABLE: self.table.content})

    @property
    def in_both(self) -> list[str]:
        """Labels that are both in training and in test."""
        tested = {record.person for record in self.query + self.gallery}
        shared = tested & {record.person for record in self.train}
        return [self.table.labels[person] for person in sorted(shared)]

    def _tested(self, side: Iterable[bool]) -> list[bool]:
        return [flag and split == self.test_split for flag, split in zip(side, self.table.split, strict=True)]

    def _records(self, chosen: Iterable[bool]) -> tuple[ImageRecord, ...]:
        table = self.table
        columns = zip(table.path, table.person, table.camera, table.box, table.sequence, chosen, strict=True)
        places = self.places
        return tuple(
            ImageRecord(places[path], person, camera, box, sequence)
            for path, person, camera, box, sequence, taken in columns
            if taken
        )

    @cached_property
    def places(self) -> dict[str, Path]:
        """The pictures by their paths in the file."""
        return {path: self.root / path for path in dict.fromkeys(self.table.path)}


def read_own(file: Path) -> OwnReading:
    """Read a file and look for its pictures, with one `stat` each. Raises UserError as `read_table`."""
    table = read_table(file)
    root = str(file.parent)
    sizes: dict[str, int] = {}
    missing: dict[str, str] = {}
    for path in dict.fromkeys(table.path):
        place = os.path.join(root, path)  # noqa: PTH118 - a third of the time, over a hundred thousand images
        try:
            status = os.stat(place)  # noqa: PTH116
        except (OSError, ValueError) as fault:
            missing[path] = getattr(fault, "strerror", None) or str(fault)
            continue
        if status.st_mode & 0o170000 != 0o100000:
            missing[path] = "is not a file"
        elif not os.access(place, os.R_OK):
            missing[path] = "no right to read it"
        else:
            sizes[path] = status.st_size
    return OwnReading(table, sizes, missing, _standin(file.parent, sizes))


def load_own(name: str, files: Mapping[str, Path]) -> Dataset:
    """The set of a name, as `OwnSets` gives it, from its file. Images are not opened.

    Raises UserError for a set whose file is not known, that was edited meanwhile, or that is unusable.
    """
    if name not in files:
        raise UserError(
            f"the file of the set {name} is not known here: give its path, or its word in sets.yaml, not its name"
        )
    file = files[name]
    if digest_of(file)[:LETTERS] != name.rpartition("@")[2]:
        raise UserError(f"{file} was edited since the run was planned as {name}: run the command again")
    reading = read_own(file)
    if fault := next(own_faults(reading), None):
        raise UserError(fault)
    query = {(record.path, record.box) for record in reading.query}
    return Dataset(
        name=name,
        root=reading.root,
        train=reading.train,
        query=reading.query,
        gallery=reading.gallery,
        fingerprint=reading.fingerprint,
        standin=reading.standin,
        shares_images=any((record.path, record.box) in query for record in reading.gallery),
    )


def own_faults(reading: OwnReading) -> Iterable[str]:
    """Yield what makes a set unusable, one sentence each."""
    table, file = reading.table, reading.table.file
    if reading.missing:
        first, why = next(iter(reading.missing.items()))
        line = table.line[table.path.index(first)]
        yield (
            f"{file}: {len(reading.missing):,} of {len(set(table.path)):,} pictures are missing or unreadable, first"
            f" {reading.root / first} of line {line} ({why}); paths are relative to the folder of the file"
        )
    if foreign := [path for path in reading.sizes if not path.lower().endswith(SUFFIXES)]:
        yield f"{file}: {len(foreign):,} pictures are not JPEG, PNG or BMP, first {foreign[0]}: convert them to PNG"
    if empty := [path for path, size in reading.sizes.items() if size == 0]:
        yield f"{file}: {len(empty):,} pictures have 0 bytes, first {empty[0]}: copy them again"
    if len(table.labels) < 2:
        yield f"{file} has one identity only, {table.labels[0]!r}: nothing can be told apart; give at least two"
    for side in ("train", "query", "gallery"):
        counts = Counter((record.path, record.box) for record in getattr(reading, side))
        if twice := [path for (path, _), count in counts.items() if count > 1]:
            yield f"{file}: {len(twice):,} images are listed twice for {side}, first {twice[0]}: leave a line out"
    if not reading.train or reading.query or reading.gallery or {"test", "validation"} & {*table.split}:
        yield from _test_faults(reading)


def _test_faults(reading: OwnReading) -> Iterable[str]:
    file, split = reading.table.file, reading.test_split
    for side, column in (("query", "is_query"), ("gallery", "is_gallery")):
        if not getattr(reading, side):
            yield f"{file} has no {side}: no line of split {split} has {column} True"
            return
    if not has_match(reading.query, reading.gallery):
        yield (
            f"{file}: no query can be ranked, as none has a match in the gallery but of its own camera or sequence, or"
            " itself"
        )


def _standin(root: Path, paths: Iterable[str]) -> str | None:
    """What generated set some of the pictures are of: tables must say so wherever they are listed."""
    folders = {os.path.dirname(os.path.abspath(os.path.join(root, path))) for path in paths}  # noqa: PTH100, PTH118, PTH120
    above = {place for folder in folders for place in (Path(folder), *Path(folder).parents)}
    for folder in sorted(above):
        marker = folder / STANDIN_MARKER
        if not marker.is_file():
            continue
        try:
            said = json.loads(marker.read_text(encoding="utf-8"))
            return str(Standin(str(said["size"]), int(said["seed"]), str(said.get("version", ""))))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
            raise UserError(f"{marker} cannot be read: write the set again with `bench data standin`") from fault
    return None
