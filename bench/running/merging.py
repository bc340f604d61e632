"""Finished runs of other results folders are taken into this one: whole, or not at all, and nothing is overwritten."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import UserError
from bench.journal.reading import Unreadable
from bench.journal.record import LOCK, RECORD, Record, TestResult, cell_folders, is_running, read_record, sync_folder
from bench.running.jobs import JOB
from bench.system.locks import NoLocks, try_lock

DRAFTS = "merging"
"""Beside the runs, on the same file system: a copy that is not whole never lies among them."""


@dataclass
class Merged:
    """What became of the runs of other folders, by their names; sentences say what was not taken."""

    taken: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """There already, with the same numbers."""
    unfinished: int = 0
    """Runs of other folders that are not finished there."""
    conflicts: list[str] = field(default_factory=list)
    """The same run with other numbers: what both say."""
    obstacles: list[str] = field(default_factory=list)
    """Runs that could not be taken."""
    notes: list[str] = field(default_factory=list)


class _Passed(Exception):
    """Why a run is not taken."""


def merge(results: Path, others: Sequence[Path], dry_run: bool = False) -> Merged:
    """Take the finished runs of `others` into `results`; with `dry_run` only say what would be done.

    Each run comes with all that lies in its folder but its lock and its job, which is another queue's. Raises UserError
    for a folder without runs, for `results` itself, and while another process merges into it.
    """
    for other in others:
        if not (other / "runs").is_dir():
            raise UserError(f"{other} is no results folder: it holds no folder runs; give the one above the runs")
        if os.path.realpath(other / "runs") == os.path.realpath(results / "runs"):
            raise UserError(
                f"{other} is the results folder that is merged into; name another, or choose it by --results"
            )
    merged = Merged()
    here: dict[str, Record] = {}
    if dry_run:
        for other in others:
            _merge_one(results, other, None, here, merged)
        return merged
    with _drafts(results) as drafts:
        for other in others:
            _merge_one(results, other, drafts, here, merged)
    return merged


def differences(one: Record, other: Record) -> list[str]:
    """In what two records of the same run differ: "" for nothing that is a number or makes one."""
    found = [
        f"{name} differs"
        for name in ("config", "numerics", "fingerprint")
        if getattr(one, name) != getattr(other, name)
    ]
    if one.weights_hash != other.weights_hash:
        found.append(f"weights {(one.weights_hash or 'none')[:8]} here, {(other.weights_hash or 'none')[:8]} there")
    for result in one.tests:
        same = other.result(result.test, result.state)
        if same is None:
            continue
        if result.fingerprint != same.fingerprint:
            found.append(f"{result.test} is other data there")
        elif _numbers(result) != _numbers(same):
            found.append(f"{result.test} {_accuracies(result)} here, {_accuracies(same)} there")
    return found


def _numbers(result: TestResult) -> tuple[object, ...]:
    return (
        result.rank1,
        result.mAP,
        result.mAP_trapezoid,
        result.query_index,
        result.first_rank,
        result.average_precision,
    )


def _accuracies(result: TestResult) -> str:
    return f"Rank-1 {100 * result.rank1:.4f} mAP {100 * result.mAP:.4f}"


def _merge_one(results: Path, other: Path, drafts: Path | None, here: dict[str, Record], merged: Merged) -> None:
    for source in cell_folders(other):
        try:
            record = read_record(source)
            if record is None or not record.is_done():
                merged.unfinished += 1
                continue
            _merge_run(results / "runs" / source.name, source, record, drafts, here, merged)
        except Unreadable as fault:
            merged.obstacles.append(str(fault))
        except _Passed as why:
            merged.obstacles.append(f"{source} {why}")


def _merge_run(
    target: Path, source: Path, record: Record, drafts: Path | None, here: dict[str, Record], merged: Merged
) -> None:
    if record.cell != source.name:
        raise _Passed(f"holds the record of {record.cell}: give the folder that name again")
    if is_running(source):
        raise _Passed("is at work: merge again when it has finished")
    mine = here.get(target.name) or _own(target)
    if mine is not None:
        _compare(mine, record, target, source, merged)
        return
    if drafts is not None:
        _copy(source, target, drafts / source.name, record)
    here[target.name] = record
    merged.taken.append(target.name)


def _own(target: Path) -> Record | None:
    """The finished run of a folder of ours; None if there is no such folder. Raises _Passed for one that is begun."""
    if not os.path.lexists(target):
        return None
    record = read_record(target)
    if record is None or not record.is_done():
        state = "at work" if is_running(target) else "not finished"
        raise _Passed(f"is finished, but {target} is there and {state}: move that away, or finish it, and merge again")
    return record


def _compare(mine: Record, record: Record, target: Path, source: Path, merged: Merged) -> None:
    if found := differences(mine, record):
        merged.conflicts.append(
            f"{target.name}: {'; '.join(found)}; here {_origin(mine)}, in {source.parent.parent} {_origin(record)}"
        )
        return
    merged.kept.append(target.name)
    lacking = sorted({result.test for result in record.tests if mine.result(result.test, result.state) is None})
    if lacking:
        merged.notes.append(
            f"{target.name} stays as it is; {source.parent.parent} tested it on {', '.join(lacking)} as well, which"
            " `bench run --test` does here"
        )


def _origin(record: Record) -> str:
    account = record.provenance
    return f"on {account.device} ({account.host}, commit {account.commit[:8]}, {account.finished})"


def _copy(source: Path, target: Path, draft: Path, record: Record) -> None:
    """The whole folder, put in place in one step. Raises _Passed where that fails or the run changed meanwhile."""
    try:
        shutil.copytree(source, draft, ignore=_not_taken)
        if read_record(draft) != record or read_record(source) != record:
            raise _Passed("changed while it was copied: merge again")
        for folder, _, names in os.walk(draft):
            for name in names:
                with (Path(folder) / name).open("rb") as file:
                    os.fsync(file.fileno())
            sync_folder(Path(folder))
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(target):
            raise _Passed(f"was begun here meanwhile ({target}): merge again when it has finished")
        draft.rename(target)
        sync_folder(target.parent)
    except shutil.Error as fault:
        first = fault.args[0][0]
        raise _Passed(f"cannot be copied whole ({first[0]}: {first[2]})") from fault
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _not_taken(folder: str, names: list[str]) -> set[str]:
    """The lock, a job of another queue, what a process left half-written, and what is no file."""
    return {
        name
        for name in names
        if name in (LOCK, JOB)
        or name.startswith((f".{RECORD}.", ".checkpoint.pt.", "spill-"))
        or _is_special(folder, name)
    }


def _is_special(folder: str, name: str) -> bool:
    path = Path(folder) / name
    return path.exists() and not path.is_file() and not path.is_dir()


@contextmanager
def _drafts(results: Path) -> Iterator[Path]:
    """A folder for copies under way, for this process alone; what a process that died left there is deleted."""
    runs = results / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    folder = runs.resolve().parent / DRAFTS
    folder.mkdir(exist_ok=True)
    lock = folder / LOCK
    with lock.open("a") as file:
        try:
            mine = try_lock(file.fileno())
        except NoLocks as fault:
            raise UserError(
                f"files in {results} cannot be locked ({fault.strerror}); choose a folder on another file system"
            ) from fault
        if not mine:
            raise UserError(f"another `bench merge` is at work in {results}; try again when it has finished")
        for left in folder.iterdir():
            if left != lock:
                shutil.rmtree(left)
        yield folder
        lock.unlink()
        folder.rmdir()
