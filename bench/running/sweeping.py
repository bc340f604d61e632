"""Deleting what nobody needs any more: submissions, frozen code and, where that is asked for, outdated runs."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from bench.journal.code import SNAPSHOT, code_version
from bench.journal.record import cell_lock
from bench.running.ledger import Ledger
from bench.running.submitted import Left, LeftBehind
from bench.study.numerics import outdated

SWEEPING = "sweeping"
"""Beside the folders from which something is taken: what is half deleted never lies where something whole is looked
for."""


@dataclass(frozen=True)
class Unneeded:
    """A folder that nobody needs, with what it takes in bytes."""

    path: Path
    size: int
    about: str


@dataclass
class Sweep:
    """What can go from a results folder, and why the rest stays."""

    snapshots: list[Unneeded] = field(default_factory=list)
    submissions: list[Unneeded] = field(default_factory=list)
    kept: list[Left] = field(default_factory=list)
    runs: list[Unneeded] = field(default_factory=list)
    """By earlier versions of the code, so that no table asks for them."""
    at_work: int = 0
    """Further runs by earlier versions, which wait or go on."""
    refused: list[str] = field(default_factory=list)
    """What could not be deleted, and why."""


def look(results: Path, ledger: Ledger) -> Sweep:
    """What of a results folder nobody needs. Writes nothing; raises Unreadable for a folder that cannot be listed."""
    left, sweep = LeftBehind(results, ledger), Sweep()
    for found, unneeded, about in (
        (left.submissions, sweep.submissions, _about_submission),
        (left.snapshots, sweep.snapshots, _about_code),
    ):
        sweep.kept += [one for one in found if one.needed]
        unneeded += [Unneeded(one.path, _size(one.path), about(one)) for one in found if not one.needed]
    for path, started in ledger.begun.items():
        if parts := outdated(started.config, started.numerics):
            if ledger.state_of_folder(path).busy:
                sweep.at_work += 1
            else:
                about = ", ".join(f"{part} {then} (now {now})" for part, (then, now) in parts.items())
                sweep.runs.append(Unneeded(path, _size(path), about))
    return sweep


def sweep_away(sweep: Sweep, runs: bool) -> None:
    """Delete what was found, `runs` too if asked; the caller sees to it that nobody submits meanwhile.

    Submissions go before the code that they name. What cannot be deleted is told in `refused` instead.
    """
    sweep.submissions = [one for one in sweep.submissions if _delete(one.path, sweep)]
    sweep.snapshots = [one for one in sweep.snapshots if _delete(one.path, sweep)]
    if runs:
        sweep.runs = [one for one in sweep.runs if _delete_run(one.path, sweep)]


def _delete_run(path: Path, sweep: Sweep) -> bool:
    try:
        with cell_lock(path) as mine:
            if mine:
                return _delete(path, sweep)
        sweep.refused.append(f"{path}: a process has just begun to work at it")
    except OSError as fault:
        sweep.refused.append(f"{path}: {fault.strerror}")
    return False


def _delete(path: Path, sweep: Sweep) -> bool:
    place = path.parent.resolve().parent / SWEEPING
    try:
        place.mkdir(exist_ok=True)
        moved = place / f"{path.name}-{secrets.token_hex(4)}"
        path.rename(moved)
    except OSError as fault:
        sweep.refused.append(f"{path}: {fault.strerror}")
        return False
    # With it goes what a process that was ended left half deleted.
    shutil.rmtree(place, ignore_errors=True)
    if moved.exists():
        sweep.refused.append(f"{moved}: could not be deleted whole")
    return not moved.exists()


def _size(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # somebody else deletes too
            size += path.lstat().st_size
    return size


def _about_submission(one: Left) -> str:
    return "" if one.account is None else f"code {Path(one.account.snapshot).name}"


def _about_code(one: Left) -> str:
    """What is in a copy of the code that may be nowhere else."""
    if not (one.path / SNAPSHOT).is_file():
        return "never finished"
    commit, dirty = code_version(one.path / "bench")
    heads = sorted({path.name for path in one.path.glob("heads/*/*.py")})
    changed = ", with changes that are in no commit" if dirty else ""
    return f"commit {commit[:8]}{changed}{', with ' * bool(heads)}{' '.join(heads)}"
