"""A test that was cut off goes on from the last chunk of queries that was ranked."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from bench.metrics import QueryRanks
from bench.records import write_atomically


@dataclass(frozen=True)
class PartialTest:
    """The file that holds the ranks of the queries done so far; `key` tells of which network, data and plan."""

    path: Path
    key: str

    def load(self) -> tuple[int, QueryRanks | None, dict[str, float]]:
        """Queries done, their ranks, and seconds by phase; (0, None, {}) if there is nothing that fits the key."""
        try:
            with np.load(self.path, allow_pickle=False) as file:
                if str(file["key"]) != self.key:
                    return 0, None, {}
                ranks = QueryRanks(**{field.name: file[field.name] for field in fields(QueryRanks)})
                seconds = dict(zip(file["phases"].tolist(), file["seconds"].tolist(), strict=True))
                return int(file["done"]), ranks, seconds
        except (OSError, ValueError, KeyError):
            return 0, None, {}

    def save(self, done: int, ranks: QueryRanks, seconds: dict[str, float]) -> None:
        """Store the ranks of the first `done` queries."""
        buffer = io.BytesIO()
        arrays = {field.name: getattr(ranks, field.name) for field in fields(QueryRanks)}
        phases, spent = np.array(list(seconds), dtype=str), np.array(list(seconds.values()), dtype=float)
        np.savez(buffer, key=self.key, done=done, phases=phases, seconds=spent, **arrays)
        write_atomically(self.path, buffer.getvalue())

    def delete(self) -> None:
        """Forget it: the test is finished."""
        self.path.unlink(missing_ok=True)
