"""Ranked lists as queries are ranked: what each list has, and where the lists of a test under way are kept."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data import Dataset, ImageRecord, Split
from bench.errors import CellFailed
from bench.journal.lists import BEST, RankedLists, write_lists

ENTRY = np.dtype([("gallery", "<i4"), ("score", "<f4"), ("rank", "<i4")])
_RIGHT, _LEFT_OUT = 1, 2
_READ_AT_ONCE = 2**20
_BLOCK = 64


def ranked_list(
    row: NDArray,
    same: NDArray[np.bool_],
    right: NDArray[np.int64],
    left_out: NDArray[np.int64],
    others_at_least: NDArray[np.int64],
) -> NDArray:
    """[n] of ENTRY: one query's list as `RankedLists` describes it, from its scores `row` [G].

    `same` [G] marks the images of its person and all that are left out; `right` and `left_out` are the positions,
    ascending, of those of its person that count, and of all that do not. `others_at_least` tells for each right image,
    the best first, how many of other persons score at least as high.
    """
    right = right[np.argsort(-row[right], kind="stable")]
    right_scores = row[right]
    found = np.flatnonzero(row >= _reached_by(row, BEST + len(right) + len(left_out)))
    found = found[~same[found]]
    found = found[np.argsort(-row[found], kind="stable")[:BEST]]
    above = np.searchsorted(-right_scores, -row[found], side="left")
    found_rank = np.arange(1, len(found) + 1) + above
    right_rank = np.arange(1, len(right) + 1) + others_at_least
    best = found_rank <= BEST
    found, found_rank = found[best], found_rank[best]
    if len(left_out):
        if len(row) - len(left_out) >= BEST:
            tenth = min(np.min(row[found], initial=np.inf), np.min(right_scores[right_rank <= BEST], initial=np.inf))
            left_out = left_out[row[left_out] > tenth]
        left_out = left_out[np.argsort(-row[left_out], kind="stable")[:BEST]]
    gallery = np.concatenate((found, right, left_out))
    kind = np.repeat((0, _RIGHT, _LEFT_OUT), (len(found), len(right), len(left_out)))
    order = np.lexsort((kind, -row[gallery]))
    entries = np.zeros(len(gallery), ENTRY)
    entries["gallery"], entries["score"] = gallery[order], row[gallery[order]]
    entries["rank"] = np.concatenate((found_rank, right_rank, np.zeros(len(left_out), np.int64)))[order]
    return entries


def _reached_by(row: NDArray, count: int) -> float:
    """A score that at least so many images reach, and few more, found without going through all of them in order."""
    blocks = len(row) // _BLOCK
    if blocks <= count:
        return -np.inf
    highest = row[: blocks * _BLOCK].reshape(_BLOCK, blocks).max(axis=0)
    return np.partition(highest, blocks - count)[blocks - count]


@dataclass
class Lists:
    """Lists in memory: those of queries that follow one another, an empty one for a query without a match left."""

    parts: list[NDArray] = field(default_factory=list)

    @property
    def entries(self) -> NDArray:
        """[n] of ENTRY, of all queries."""
        return np.concatenate([np.empty(0, ENTRY), *self.parts])

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Entries of each query."""
        return np.array([len(part) for part in self.parts], dtype=np.int64)


@dataclass
class ListSpool:
    """The lists of a test under way, appended to a file as chunks are ranked, so that they take no memory.

    `sizes` counts the entries of each query so far. Raises CellFailed where the file cannot be written.
    """

    path: Path
    sizes: list[int] = field(default_factory=list)
    check: int = 0
    """CRC-32 of all entries."""

    def begin(self) -> None:
        """Forget what an earlier test left."""
        self.sizes, self.check = [], 0
        self._write("wb", b"")

    def append(self, lists: Lists) -> None:
        """Add the lists of the next queries."""
        content = lists.entries.tobytes()
        self._write("ab", content)
        self.check = zlib.crc32(content, self.check)
        self.sizes += lists.sizes.tolist()

    def mark(self) -> dict[str, NDArray]:
        """What `resume` needs to go on from here; all entries are on disk then."""
        self._write("ab", b"", durable=True)
        return {"list_sizes": np.array(self.sizes, dtype=np.int64), "list_check": np.array(self.check)}

    def resume(self, arrays: dict[str, NDArray]) -> bool:
        """Go on from what `mark` gave; False if the file does not hold those entries."""
        if not arrays.keys() >= {"list_sizes", "list_check"}:
            return False
        size, check, left = int(arrays["list_sizes"].sum()) * ENTRY.itemsize, 0, 0
        try:
            with self.path.open("r+b") as file:
                while left < size and (content := file.read(min(_READ_AT_ONCE, size - left))):
                    check, left = zlib.crc32(content, check), left + len(content)
                if (left, check) != (size, int(arrays["list_check"])):
                    return False
                file.truncate(size)
        except OSError:
            return False
        self.sizes, self.check = arrays["list_sizes"].tolist(), check
        return True

    def store(self, dataset: Dataset, data_dir: Path, folder: Path) -> str:
        """Write the lists of all queries to their place; returns the file's hash."""
        entries = np.memmap(self.path, ENTRY, "r") if sum(self.sizes) else np.empty(0, ENTRY)
        return _store(folder, _of_all(dataset, data_dir, entries, self.sizes))

    def delete(self) -> None:
        """Forget it: the test is finished."""
        self.path.unlink(missing_ok=True)

    def _write(self, mode: str, content: bytes, durable: bool = False) -> None:
        try:
            with self.path.open(mode) as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as fault:
            raise CellFailed(f"cannot save {self.path}: {fault.strerror}") from fault


def store_split_lists(dataset: Dataset, found: Sequence[Lists], data_dir: Path, folder: Path) -> str:
    """Write the lists of split 0 to their place, from those of the splits that `listed_splits` names; returns the hash.

    Raises CellFailed where the file cannot be written.
    """
    ways = {split.swapped: (split, lists) for split, lists in zip(listed_splits(dataset), found, strict=True)}
    there = _of_split(dataset, data_dir, *ways[False])
    return _store(folder, there, _of_split(dataset, data_dir, *ways[True]) if True in ways else None)


def listed_splits(dataset: Dataset) -> list[Split]:
    """The splits whose lists are stored: the first one, both ways if it is tested so."""
    return [split for split in dataset.splits if split.number == dataset.splits[0].number]


def _of_split(dataset: Dataset, data_dir: Path, split: Split, lists: Lists) -> RankedLists:
    query, gallery = split.query, split.gallery
    if split.swapped:
        query, gallery = gallery, query
    parts: list[NDArray] = [np.empty(0, ENTRY)] * len(dataset.gallery if split.swapped else dataset.query)
    for at, part in zip(query, lists.parts, strict=True):
        parts[at] = part.copy()
        parts[at]["gallery"] = np.array(gallery, dtype=np.int64)[part["gallery"]]
    placed = Lists(parts)
    return _of_all(dataset, data_dir, placed.entries, placed.sizes, split.swapped)


def _of_all(
    dataset: Dataset, data_dir: Path, entries: NDArray, sizes: Sequence[int] | NDArray, swapped: bool = False
) -> RankedLists:
    query, gallery = (dataset.gallery, dataset.query) if swapped else (dataset.query, dataset.gallery)
    return RankedLists(
        test=dataset.name,
        fingerprint=dataset.fingerprint,
        query_path=_below(data_dir, query),
        gallery_path=_below(data_dir, gallery),
        query_person=np.array([record.person for record in query], dtype=np.int64),
        query_camera=np.array([record.camera for record in query], dtype=np.int64),
        gallery_person=np.array([record.person for record in gallery], dtype=np.int64),
        gallery_camera=np.array([record.camera for record in gallery], dtype=np.int64),
        start=np.concatenate(([0], np.cumsum(sizes, dtype=np.int64))).astype(np.int64),
        gallery=entries["gallery"],
        score=entries["score"],
        rank=entries["rank"],
    )


def _below(data_dir: Path, records: Sequence[ImageRecord]) -> list[str]:
    start = f"{data_dir}{os.sep}"
    paths = [str(record.path).removeprefix(start) for record in records]
    return paths if os.sep == "/" else [path.replace(os.sep, "/") for path in paths]


def _store(folder: Path, lists: RankedLists, swapped: RankedLists | None = None) -> str:
    try:
        return write_lists(folder, replace(lists, swapped=swapped))
    except OSError as fault:
        raise CellFailed(f"cannot save the ranked lists in {folder}: {fault.strerror}") from fault
