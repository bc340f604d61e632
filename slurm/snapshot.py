"""The code as it is at submission, so that a run is not changed by what is edited while it waits."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import bench
from bench.errors import UserError
from bench.journal.code import SNAPSHOT, code_version
from bench.running.submitted import SNAPSHOTS

SUFFIXES = (".py", ".yaml", ".json", ".cpp", ".h")
PACKAGES = ("bench", "variants", "slurm")
DATA = ("results/__init__.py", "results/paper.yaml", "results/literature.yaml")


@dataclass(frozen=True)
class Snapshot:
    """A frozen copy of the code."""

    path: Path
    commit: str
    dirty: bool | None


def snapshot_of(results: Path) -> Snapshot:
    """Where the present code's copy belongs; nothing is written. Raises UserError for code that cannot be read."""
    root = Path(bench.__file__).parent.parent
    commit, dirty = code_version(Path(bench.__file__).parent)
    whole = hashlib.sha256(f"{commit} {dirty}".encode())
    with _told("cannot copy the code"):
        for file in _files(root):
            whole.update(f"\0{file.relative_to(root)}\0".encode() + file.read_bytes())
    return Snapshot(results.absolute() / SNAPSHOTS / whole.hexdigest()[:16], commit, dirty)


def freeze(results: Path) -> Snapshot:
    """Copy the code below the results folder. The same code is copied once, whoever submits it and how often.

    Raises UserError where that cannot be done.
    """
    snapshot = snapshot_of(results)
    if snapshot.path.is_dir():
        with suppress(OSError):  # another's
            os.utime(snapshot.path)  # `bench clean` leaves alone what is new
    else:
        with _told(f"cannot copy the code to {snapshot.path}"):
            _copy(snapshot)
    return snapshot


def _copy(snapshot: Snapshot) -> None:
    root = Path(bench.__file__).parent.parent
    snapshot.path.parent.mkdir(parents=True, exist_ok=True)
    # Not from tempfile, whose folders nobody else may enter.
    temporary = snapshot.path.parent / f".snapshot-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        temporary.mkdir()
        for file in _files(root):
            target = temporary / file.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        account = {"commit": snapshot.commit, "dirty": snapshot.dirty}
        (temporary / SNAPSHOT).write_text(json.dumps(account), encoding="utf-8")
        temporary.rename(snapshot.path)
    except OSError:
        if not snapshot.path.is_dir():  # else somebody else was quicker
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def keep_head(head: str, snapshot: Path) -> str:
    """What names a head in a job: a head's file is copied beside the frozen code, a name stays.

    Raises UserError where it cannot be copied.
    """
    path = Path(head)
    if not head.endswith(".py") or not path.is_file():
        return head
    with _told(f"cannot copy {head} to {snapshot}"):
        source = path.read_bytes()
        target = snapshot / "heads" / hashlib.sha256(source).hexdigest()[:16] / path.name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".{path.name}.{os.getpid()}")
            temporary.write_bytes(source)
            temporary.replace(target)
    return str(target)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Says in one sentence what the system refuses."""
    try:
        yield
    except OSError as fault:
        where = f" ({fault.filename})" if fault.filename else ""
        raise UserError(f"{what}: {fault.strerror or fault}{where}") from fault


def _files(root: Path) -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted(path for path in (root / package).rglob("*") if path.suffix in SUFFIXES and path.is_file())
    for name in DATA:
        if (root / name).is_file():
            yield root / name
