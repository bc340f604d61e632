"""All that a process needs to run a cell, and when it is finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.config import CellConfig
from bench.journal.lists import lacks_lists
from bench.journal.pulse import SAVE_SECONDS
from bench.journal.record import Record, TestResult
from bench.progress import QUIET, Progress

NOTHING_TO_TEST = "not trained, so there is nothing to test again; `bench run` without --lists trains it"


@dataclass(frozen=True, eq=False)
class CellTask:
    """All that a process needs to run a cell; nothing in it but `config`, `numerics`, `fingerprint` is identity."""

    cell: str
    label: str
    config: CellConfig
    numerics: dict[str, int]
    fingerprint: str
    standin: str | None
    release: str
    results: Path
    data_dir: Path
    head: str
    tests: tuple[str, ...]
    threads: int
    """Of the CPU; where they change numbers `config` has them too."""
    device: str = "cpu"
    workers: int = 2
    untrained: bool = False
    weights_file: Path | None = None
    msmt_release: str | None = None
    jobs: int = 1
    preset: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    progress: Progress = QUIET
    save_seconds: float = SAVE_SECONDS
    splits: tuple[Path, ...] = ()
    """Files of splits for small test sets, instead of those that come with these."""
    own: dict[str, Path] = field(default_factory=dict)
    """The files of sets of one's own, by name."""
    lists: bool = False
    """Whether results without ranked lists are tested again; then nothing is trained."""

    @property
    def folder(self) -> Path:
        """Where the cell's record, log and checkpoint lie."""
        return self.results / "runs" / self.cell

    @property
    def states(self) -> tuple[str, ...]:
        """States of the network that are tested."""
        return ("trained", "untrained") if self.untrained else ("trained",)

    def is_finished(self, record: Record | None) -> bool:
        """Whether a record answers all that the task asks for."""
        return self.has_results(record) and not self.without_lists(record)

    def has_results(self, record: Record | None) -> bool:
        """Whether a record has all results that the task asks for, with ranked lists or without."""
        return record is not None and record.is_done(self.tests, self.states)

    def without_lists(self, record: Record) -> list[TestResult]:
        """The results that the task asks to have ranked lists and that have none."""
        return results_without_lists(self.folder, record, self.tests) if self.lists else []

    def has_nothing_to_test(self, record: Record | None) -> bool:
        """Whether the task only tests again, and no network has been trained."""
        return self.lists and (record is None or record.weights_hash is None)


def results_without_lists(folder: Path, record: Record, tests: Sequence[str]) -> list[TestResult]:
    """The results of the trained network on these test sets whose ranked lists are not in a cell's folder."""
    results = [result for test in tests if (result := record.result(test)) is not None]
    return [result for result in results if lacks_lists(folder, result)]
