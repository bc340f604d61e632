"""The ranked lists of a test: for each query the images that scored highest, and the right ones that were missed.

<results>/runs/<cell>/lists-<test>.npz     beside record.json, whose result has the file's SHA-256

They are of the trained network. What is in them is said at `RankedLists`.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray

from bench.journal.reading import Unreadable
from bench.journal.record import TestResult, write_atomically

FORMAT = 1
"""Raised whenever the file changes so that this code cannot read it."""
BEST = 10
"""Images that count and head a list, unless fewer count; also the most that are shown of those left out."""
ADVICE = "`bench run --lists` with the run's own choice tests it again, without training"
_SIDES = ("query_person", "query_camera", "gallery_person", "gallery_camera")
_RAGGED = ("start", "gallery", "score", "rank")
_OTHER = {"query": "gallery", "gallery": "query"}
_KINDS = {"score": "f", "query_path": "u", "gallery_path": "u"}

Kind = Literal["right", "wrong", "left out"]


@dataclass(frozen=True)
class Entry:
    """One image of a list: position in the gallery, score, and rank among the images that count, 0 if left out."""

    gallery: int
    score: float
    rank: int
    kind: Kind


@dataclass(frozen=True, eq=False)
class RankedLists:
    """The lists of a test's queries. Q queries and G gallery images, all of the test; N entries in all lists together.

    A list has, by falling score, the ten best images that count and, of those that the same-camera rule leaves out, at
    most ten that score above the tenth; behind these every right image beyond rank ten. Of equal scores wrong images
    come first, then right ones, then those left out, each in the order of the gallery. Queries without a match left
    have no list.

    Of a small set with several splits the lists are those of split 0: all images of both sides are given, and queries
    that the split does not hold have no list. `swapped` has, of a set that is tested both ways, the lists of the
    gallery's images looked for among the queries; for any other set it is None.
    """

    test: str
    fingerprint: str
    """Of the data set, as in the record."""
    query_path: list[str]
    """[Q]: below the data directory (for a preset on stand-in data, that of its set), with forward slashes."""
    gallery_path: list[str]
    query_person: NDArray[np.integer]
    query_camera: NDArray[np.integer]
    gallery_person: NDArray[np.integer]
    gallery_camera: NDArray[np.integer]
    start: NDArray[np.int64]
    """[Q + 1]: the list of query q is `gallery`, `score` and `rank` from start[q] to start[q + 1]."""
    gallery: NDArray[np.int32]
    """[N]: positions in the gallery."""
    score: NDArray[np.float32]
    """[N]: higher = more alike."""
    rank: NDArray[np.int32]
    """[N]: from 1 among the images that count, as in the record; 0 for an image left out."""
    swapped: RankedLists | None = None

    def of(self, query: int) -> list[Entry]:
        """The list of a query, by its position; [] for one that has none. Raises IndexError for no position."""
        if not 0 <= query < len(self.query_path):
            raise IndexError(f"no query {query}: there are {len(self.query_path)}")
        found = slice(self.start[query], self.start[query + 1])
        right = self.gallery_person[self.gallery[found]] == self.query_person[query]
        return [
            Entry(int(gallery), float(score), int(rank), "left out" if rank == 0 else "right" if same else "wrong")
            for gallery, score, rank, same in zip(
                self.gallery[found], self.score[found], self.rank[found], right, strict=True
            )
        ]

    @property
    def queries(self) -> NDArray[np.int64]:
        """Positions of the queries that have a list."""
        return np.flatnonzero(np.diff(self.start))


def lists_path(folder: Path, test: str) -> Path:
    """Where the lists of a test lie in a cell's folder."""
    return folder / f"lists-{test}.npz"


def write_lists(folder: Path, lists: RankedLists) -> str:
    """Store lists in a cell's folder, in one step; the same lists give the same bytes. Returns the file's SHA-256.

    Arrays are written piece by piece, so that those mapped from a file need no memory. Raises OSError.
    """
    path = lists_path(folder, lists.test)
    arrays = {
        "format": np.array(FORMAT),
        "test": np.array(lists.test),
        "fingerprint": np.array(lists.fingerprint),
        "query_path": _joined(lists.query_path),
        "gallery_path": _joined(lists.gallery_path),
        **{name: getattr(lists, name) for name in (*_SIDES, *_RAGGED)},
    }
    if lists.swapped is not None:
        arrays |= {f"swapped_{name}": getattr(lists.swapped, name) for name in _RAGGED}

    def write(file: IO[bytes]) -> None:
        np.savez_compressed(file, **arrays)

    write_atomically(path, write)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_lists(folder: Path, test: str, digest: str | None = None) -> RankedLists | None:
    """The lists of a test in a cell's folder, None if there are none.

    Raises Unreadable for a file that is damaged or foreign, or is not the one with that SHA-256 if a `digest` is given.
    """
    path = lists_path(folder, test)
    try:
        # A pipe of that name would be waited for without end.
        content = path.read_bytes() if stat.S_ISREG(path.stat().st_mode) else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as fault:
        denied = fault.errno in (errno.EACCES, errno.EPERM)
        advice = "ask its owner for the right to read it" if denied else ADVICE
        raise Unreadable(path, f"cannot be read ({fault.strerror or fault})", advice) from fault
    if content is None:
        raise Unreadable(path, "is not a file", ADVICE)
    if digest is not None and hashlib.sha256(content).hexdigest() != digest:
        raise Unreadable(path, "does not hold the ranked lists that belong to the record beside it", ADVICE)
    try:
        arrays = _arrays(content)
    except Exception as fault:  # zipfile and numpy raise many kinds of error
        raise Unreadable(path, "holds no ranked lists, or is damaged", ADVICE) from fault
    if arrays.get("format", np.array(0)).tolist() != FORMAT:
        raise Unreadable(path, "holds no ranked lists of this version of the suite", ADVICE)
    try:
        found = _lists(arrays)
    except (KeyError, ValueError) as fault:
        raise Unreadable(path, f"holds no ranked lists, or is damaged ({fault.args[0]})", ADVICE) from fault
    if found.test != test:
        raise Unreadable(path, f"holds the ranked lists of {found.test}", ADVICE)
    return found


def lists_of(folder: Path, result: TestResult) -> RankedLists | None:
    """The lists that belong to a result of a record in this folder, None if the test stored none.

    Raises Unreadable where they are gone, damaged, or another test's.
    """
    if not result.lists:
        return None
    found = read_lists(folder, result.test, result.lists)
    if found is None:
        raise Unreadable(lists_path(folder, result.test), "is gone", ADVICE)
    return found


def lacks_lists(folder: Path, result: TestResult) -> bool:
    """Whether a result has no lists that could be read, so that only another test gives them."""
    try:
        return lists_of(folder, result) is None
    except Unreadable:
        return True


def _joined(paths: Iterable[str]) -> NDArray[np.uint8]:
    """Names end with a zero byte, which no path holds."""
    return np.frombuffer(b"".join(os.fsencode(path) + b"\0" for path in paths), dtype=np.uint8)


def _parted(joined: NDArray[np.uint8]) -> list[str]:
    return [os.fsdecode(path) for path in joined.tobytes().split(b"\0")[:-1]]


def _arrays(content: bytes) -> dict[str, NDArray]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(damaged)
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return dict(file)


def _lists(arrays: dict[str, NDArray]) -> RankedLists:
    """Raises KeyError or ValueError for arrays that are missing or do not fit one another."""
    for name, array in arrays.items():
        of_kind = array.dtype.kind == _KINDS.get(name.removeprefix("swapped_"), "i")
        if name not in ("format", "test", "fingerprint") and (array.ndim != 1 or not of_kind):
            raise ValueError(f"{name} is not what it should be")
    paths = {name: _parted(arrays[name]) for name in ("query_path", "gallery_path")}
    sides = {name: arrays[name] for name in _SIDES}
    for name, of_side in sides.items():
        if len(of_side) != len(paths[f"{name.partition('_')[0]}_path"]):
            raise ValueError(f"{name} does not fit the images")
    about = {name: str(arrays[name]) for name in ("test", "fingerprint")}
    swapped = None
    if "swapped_start" in arrays:
        turned = {name: sides[f"{_OTHER[name.partition('_')[0]]}_{name.partition('_')[2]}"] for name in _SIDES}
        queries, gallery = paths["gallery_path"], paths["query_path"]
        ragged = _ragged(arrays, "swapped_", len(queries), len(gallery))
        swapped = RankedLists(**about, query_path=queries, gallery_path=gallery, **turned, **ragged)
    ragged = _ragged(arrays, "", len(paths["query_path"]), len(paths["gallery_path"]))
    return RankedLists(**about, **paths, **sides, **ragged, swapped=swapped)


def _ragged(arrays: dict[str, NDArray], prefix: str, queries: int, gallery: int) -> dict[str, NDArray]:
    found = {name: arrays[prefix + name] for name in _RAGGED}
    start, size = found["start"], len(found["gallery"])
    if len(start) != queries + 1 or start[0] != 0 or start[-1] != size or (np.diff(start) < 0).any():
        raise ValueError(f"{prefix}start does not fit the queries")
    if {len(found["score"]), len(found["rank"])} != {size}:
        raise ValueError(f"{prefix}score and rank do not fit the entries")
    if size and not (found["gallery"].min() >= 0 and found["gallery"].max() < gallery and found["rank"].min() >= 0):
        raise ValueError(f"{prefix}gallery and rank go beyond what there is")
    return found
