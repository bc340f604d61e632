"""What the script of a page reads: pictures, heads, queries with their ranked lists, thumbnails once each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.journal.lists import Entry
from bench.progress import one_line
from bench.report.page.explorer import TestedHead, TestShown
from bench.report.page.pairs import HeadMatches
from bench.report.page.thumbnails import Thumbnails

KINDS = ("right", "wrong", "left out", "missed")
"""Of entries; the script knows them by their places."""
NEAREST = 10
MOST_ASIDE = 10
"""Entries left out, and right ones missed, that are shown of a list; how many more there are is said."""
NO_THUMBNAIL = -1


class Shown(NamedTuple):
    """One entry of a list: `kind` is a place in KINDS, `levels` the pair's local matches, where there are any."""

    picture: int
    score: float
    rank: int
    kind: int
    levels: Sequence[tuple[float, str]] | None


class Shelf:
    """The thumbnails of one page, numbered in the order in which they are asked for; `missing` could not be made."""

    def __init__(self, thumbnails: Thumbnails | None) -> None:
        self.stored: list[str] = []
        self.missing: set[Path] = set()
        self._thumbnails = thumbnails
        self._numbers: dict[Path, int] = {}

    def number(self, path: Path) -> int:
        """The number of an image's thumbnail, NO_THUMBNAIL if the page shows none or it cannot be read."""
        if self._thumbnails is None:
            return NO_THUMBNAIL
        if path not in self._numbers:
            made = self._thumbnails.of(path)
            if made is None:
                self.missing.add(path)
                return NO_THUMBNAIL
            self._numbers[path] = len(self.stored)
            self.stored.append(made)
        return self._numbers[path]


class _Pictures:
    """The pictures of one test set, numbered: name, person, camera, thumbnail."""

    def __init__(self, root: Path, shelf: Shelf) -> None:
        self.listed: list[tuple[str, int, int, int]] = []
        self._root = root
        self._shelf = shelf
        self._numbers: dict[str, int] = {}

    def number(self, path: str, person: int, camera: int) -> int:
        """The number of a picture. Cameras are told from 1, as the sets do."""
        if path not in self._numbers:
            self._numbers[path] = len(self.listed)
            thumbnail = self._shelf.number(self._root / path)
            self.listed.append((one_line(Path(path).name), int(person), int(camera) + 1, thumbnail))
        return self._numbers[path]


def test_data(
    test: TestShown, queries: Iterable[int], root: Path, shelf: Shelf, matches: Sequence[HeadMatches]
) -> dict[str, Any]:
    """One test set with some of its queries, whose images lie below `root`; `matches` are those of each head."""
    pictures = _Pictures(root, shelf)
    lists = test.heads[0].lists
    shown = []
    for query in queries:
        under = [_under(head, query, pictures, own) for head, own in zip(test.heads, matches, strict=True)]
        number = pictures.number(lists.query_path[query], lists.query_person[query], lists.query_camera[query])
        shown.append({"picture": number, "under": under})
    heads = [
        {"name": one_line(name), "grid": own.grid, "levels": own.levels, "told": one_line(own.told)}
        for name, own in zip(test.names, matches, strict=True)
    ]
    return {"title": one_line(test.title), "pictures": pictures.listed, "heads": heads, "queries": shown}


def shown_entries(head: TestedHead, query: int) -> tuple[list[Entry], tuple[int, int]]:
    """The entries of a query that a page shows, and how many left out and missed ones it does not."""
    entries = head.lists.of(query)
    aside = {"left out": 0, "missed": 0}
    kept = []
    for entry in entries:
        kind = kind_of(entry)
        if kind in aside:
            aside[kind] += 1
            if aside[kind] > MOST_ASIDE:
                continue
        kept.append(entry)
    hidden_out, hidden_missed = (max(0, count - MOST_ASIDE) for count in aside.values())
    return kept, (hidden_out, hidden_missed)


def kind_of(entry: Entry) -> str:
    """One of KINDS."""
    return "missed" if entry.kind == "right" and entry.rank > NEAREST else entry.kind


def _under(head: TestedHead, query: int, pictures: _Pictures, matches: HeadMatches) -> dict[str, Any]:
    """A query's list under one head."""
    lists = head.lists
    kept, hidden = shown_entries(head, query)
    entries = [
        Shown(
            pictures.number(
                lists.gallery_path[entry.gallery],
                lists.gallery_person[entry.gallery],
                lists.gallery_camera[entry.gallery],
            ),
            _rounded(entry.score),
            entry.rank,
            KINDS.index(kind_of(entry)),
            matches.of(query, entry.gallery),
        )
        for entry in kept
    ]
    precision, first = head.measured[query]
    confidence = head.confidence.get(query)
    return {
        "ap": _rounded(precision),
        "first": first,
        "confidence": None if confidence is None else _rounded(confidence),
        "entries": entries,
        "hidden": hidden,
    }


def _rounded(value: float) -> float:
    """Four digits that count."""
    return float(f"{value:.4g}")
