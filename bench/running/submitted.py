"""What submissions leave on disk beside the runs, and what of it somebody may still need.

<results>/submissions/<name>/    scripts, pickled tasks, what jobs say, and submission.json, this file's `Account`
<results>/snapshots/<digest>/    code as it was when jobs were submitted, one copy for all that run the same
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from bench.config import Settings
from bench.journal.reading import Unreadable, as_json, listed, read_json
from bench.journal.record import write_atomically
from bench.running.identity import Process
from bench.running.ledger import CellState, Ledger

SUBMISSIONS, SNAPSHOTS, ACCOUNT = "submissions", "snapshots", "submission.json"
NAME_OF_SUBMISSION = re.compile(r"bench-\d{8}-\d{6}-[0-9a-f]{6}")
NAME_OF_SNAPSHOT = re.compile(r"[0-9a-f]{16}|\.snapshot-\d+-[0-9a-f]{8}")
"""The latter is a copy that was never finished."""

YOUNG_SECONDS = 900.0
"""What was changed within this many seconds stays: where file locks do not reach other machines, somebody there may
just be submitting."""
UNTOLD = "it cannot be told from here whether something of them goes on"
"""Why a submission stays whose jobs nobody answers for."""


class Account(Settings):
    """What a submission is of. Written before its first job can exist."""

    cluster: Literal["slurm", "local"] = "slurm"
    commit: str
    dirty: bool | None
    """Whether the code had changes that are in no commit."""
    snapshot: str
    """The folder of the code that its jobs run."""
    jobs: list[str] = []
    """SLURM's ids of its arrays, once they are there."""
    process: Process | None = None
    """What runs a submission to this machine."""


def write_account(folder: Path, account: Account) -> None:
    """Say in a submission's folder what it is of. Raises OSError."""
    write_atomically(folder / ACCOUNT, as_json(account, indent=1), durable=False)


def read_account(folder: Path) -> Account | None:
    """What a submission says it is of; None where it does not say so, or cannot be understood."""
    try:
        return read_json(folder / ACCOUNT, Account, "")
    except Unreadable:
        return None


@dataclass(frozen=True)
class Left:
    """A folder that submissions left behind. `needed` is why it must stay, "" if nobody needs it."""

    path: Path
    needed: str
    account: Account | None = None
    """Of a submission."""


@dataclass(frozen=True)
class LeftBehind:
    """What submissions have left in a results folder. `ledger` knows its runs, and whom to ask for jobs."""

    results: Path
    ledger: Ledger

    @cached_property
    def submissions(self) -> list[Left]:
        """All submissions, by name."""
        return [
            Left(path, self._need_of(path, account), account)
            for path in _folders(self.results / SUBMISSIONS, NAME_OF_SUBMISSION)
            for account in [read_account(path)]
        ]

    @cached_property
    def snapshots(self) -> list[Left]:
        """All copies of the code, by name. Those of submissions that stay, stay."""
        kept = [submission for submission in self.submissions if submission.needed]
        used = {Path(submission.account.snapshot).name for submission in kept if submission.account is not None}
        untold = [submission.path.name for submission in kept if submission.account is None]
        return [Left(path, _need_of_code(path, used, untold)) for path in self._code()]

    def _code(self) -> Iterator[Path]:
        return _folders(self.results / SNAPSHOTS, NAME_OF_SNAPSHOT)

    @cached_property
    def _states(self) -> dict[str, list[CellState]]:
        """The runs whose last job is of a submission, by its name."""
        found: dict[str, list[CellState]] = {}
        for state in map(self.ledger.state_of_folder, self.ledger.begun):
            if state.job is not None:
                found.setdefault(state.job.submission, []).append(state)
        return found

    def _need_of(self, path: Path, account: Account | None) -> str:
        if _is_young(path):
            return "changed within the last quarter of an hour"
        states = self._states.get(path.name, [])
        if any(state.busy for state in states):
            return "their runs wait or go on"
        works = self._works(path, account)
        if works:
            return "their jobs wait or go on"
        if any(state.kind != "done" for state in states):
            return "what they say is of runs that are not done"
        if works is None and not states:
            return UNTOLD
        return ""

    def _works(self, path: Path, account: Account | None) -> bool | None:
        """Whether a submission has a job or a process, whatever runs say of it; None if that cannot be told."""
        if account is not None and account.cluster == "local":
            return account.process.lives if account.process is not None else None
        if self.ledger.queue is None:
            return None
        if any(entry.active and name.rpartition("-")[0] == path.name for (name, _), entry in self.ledger.queue.items()):
            return True
        # Others' jobs are not in this user's queue, and without an account it may be a submission to some machine.
        return False if account is not None and path.stat().st_uid == os.getuid() else None


def _folders(root: Path, named: re.Pattern[str]) -> Iterator[Path]:
    for path in listed(root):
        if named.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            yield path


def _need_of_code(path: Path, used: set[str], untold: list[str]) -> str:
    if path.name in used:
        return "submissions that stay are of this code"
    if untold and not path.name.startswith("."):
        return f"{untold[0]}, which stays, does not tell its code"
    return "changed within the last quarter of an hour" if _is_young(path) else ""


def _is_young(path: Path) -> bool:
    return time.time() - path.stat().st_mtime < YOUNG_SECONDS
