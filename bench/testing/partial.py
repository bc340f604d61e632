"""Scoring that was cut off goes on where it was: what was ranked, and the blocks scored of the chunk under way.

The files are deleted by whoever finishes the work.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import CellFailed
from bench.journal.record import write_atomically
from bench.testing.lists import ListSpool
from bench.testing.metrics import QueryRanks
from bench.testing.score_log import PartialChunk, ScoreLog


@dataclass(frozen=True)
class PartialTest:
    """The file that holds the ranks of the queries done so far; `key` tells of which network, data and plan.

    `lists` holds these queries' ranked lists, where they are stored: it goes on, or begins anew, as the ranks do.
    Scores of the chunk under way are in a file beside it.
    """

    path: Path
    key: str
    lists: ListSpool | None = None

    @property
    def log(self) -> ScoreLog:
        """The scores of the chunk under way."""
        return _log_beside(self.path, self.key)

    def load(self) -> tuple[int, QueryRanks | None, dict[str, float]]:
        """Queries done, their ranks, and seconds by phase; (0, None, {}) without a fit."""
        arrays = _load(self.path, self.key)
        names = [field.name for field in fields(QueryRanks)]
        # What an earlier version saved may lack what this one keeps of a query.
        known = arrays is not None and (not int(arrays["done"]) or arrays.keys() >= {*names})
        if not known or (self.lists is not None and not self.lists.resume(arrays)):
            if self.lists is not None:
                self.lists.begin()
            return 0, None, {}
        ranks = QueryRanks(**{name: arrays[name] for name in names}) if int(arrays["done"]) else None
        return int(arrays["done"]), ranks, _seconds(arrays)

    def save(
        self, done: int, ranks: QueryRanks | None, seconds: dict[str, float], chunk: PartialChunk | None = None
    ) -> None:
        """Store the ranks of the first `done` queries and what is new of the next."""
        arrays = {field.name: getattr(ranks, field.name) for field in fields(QueryRanks)} if ranks is not None else {}
        listed = self.lists.mark() if self.lists is not None else {}
        _save(self.path, self.key, {**arrays, **listed, "done": done, **_phases(seconds)})
        # Ranks first: the log of a chunk gives way to that of the next once what it was for is stored.
        if chunk is not None:
            self.log.save(chunk)

    def delete(self) -> None:
        """Forget it: the test is finished."""
        self.path.unlink(missing_ok=True)
        self.log.delete()
        if self.lists is not None:
            self.lists.delete()


@dataclass(frozen=True)
class PartialRows:
    """The file that holds what was found in the finished rows of a score matrix; `key` tells of which network.

    Scores of the chunk under way are in a file beside it.
    """

    path: Path
    key: str

    @property
    def log(self) -> ScoreLog:
        """The scores of the chunk under way."""
        return _log_beside(self.path, self.key)

    def load(self) -> tuple[NDArray | None, dict[str, float]]:
        """What the rows gave, and seconds by phase; (None, {}) if nothing fits."""
        arrays = _load(self.path, self.key)
        return (None, {}) if arrays is None else (arrays["rows"], _seconds(arrays))

    def save(self, rows: NDArray, seconds: dict[str, float], chunk: PartialChunk | None) -> None:
        """Store what the finished rows gave and what is new of the next."""
        _save(self.path, self.key, {"rows": rows, **_phases(seconds)})
        if chunk is not None:
            self.log.save(chunk)

    def delete(self) -> None:
        """Forget it: the work is finished."""
        self.path.unlink(missing_ok=True)
        self.log.delete()


def _log_beside(path: Path, key: str) -> ScoreLog:
    return ScoreLog(path.with_suffix(".scores"), key)


def _phases(seconds: dict[str, float]) -> dict[str, NDArray]:
    return {"phases": np.array(list(seconds), dtype=str), "seconds": np.array(list(seconds.values()), dtype=float)}


def _seconds(arrays: dict[str, NDArray]) -> dict[str, float]:
    return dict(zip(arrays["phases"].tolist(), arrays["seconds"].tolist(), strict=True))


def _load(path: Path, key: str) -> dict[str, NDArray] | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file) if str(file["key"]) == key and "phases" in file else None
    except Exception:  # a damaged file costs the work that it held; zipfile and numpy raise many kinds of error
        return None


def _save(path: Path, key: str, arrays: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, key=key, **arrays)
    try:
        write_atomically(path, buffer.getbuffer())
    except OSError as fault:
        raise CellFailed(f"cannot save {path}: {fault.strerror}") from fault
