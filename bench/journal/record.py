"""What is known of a finished or failed run, and how it lies on disk.

<results>/runs/<cell>/record.json      this file's `Record`
<results>/runs/<cell>/log.jsonl        one line per epoch
<results>/runs/<cell>/checkpoint.pt    the network; while training, all that resuming needs
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from bench.config import CellConfig, Settings
from bench.errors import UserError

RECORD = "record.json"
STARTED = "started.json"
LOG = "log.jsonl"
CHECKPOINT = "checkpoint.pt"
LOCK = ".lock"


class Level(Settings):
    """Accuracy of something that needs no training, in shares of 1."""

    rank1: float
    mAP: float


class TestResult(Settings):
    """One network on one test set. Accuracies are shares of 1; seconds are wall-clock; memory is in bytes."""

    test: str
    state: Literal["trained", "untrained"]
    rank1: float
    mAP: float
    mAP_trapezoid: float
    cmc: list[float]
    """Shares of queries with a match among the first 1, 2, ... 20."""
    query_index: list[int]
    """Positions, in the query list, of the queries that count (those with a match left)."""
    first_rank: list[int]
    """For each such query, the rank of its first match, from 1."""
    average_precision: list[float]
    gallery_images: int
    chance: Level
    """What random scores reach on average."""
    pixels: Level | None = None
    """Cosine of average-pooled pixels, where baselines were asked for."""
    fingerprint: str
    standin: str | None = None
    seconds: dict[str, float]
    """By phase: encoding, matching, ranking."""
    peak_bytes: int
    """Peak memory of the test: of the device where it is a GPU, else of the process."""
    pairs: int
    """Scores computed; pairs / seconds["matching"] is the matching rate."""


class Failure(Settings):
    """Why and where a run ended early."""

    phase: str
    reason: str


class Provenance(Settings):
    """Where the numbers come from."""

    commit: str
    dirty: bool | None
    versions: dict[str, str]
    device: str
    cpu: str
    host: str
    started: str
    finished: str
    segments: int = 1
    """How many times the run was started, interruptions counted."""
    jobs: int = 1
    """Runs that shared the machine, this one counted; on a CPU they slow one another down."""
    weights_sha256: str | None = None
    """Of the file that the backbone's first weights were read from; None from scratch, and in older records."""
    kernel: str = ""
    """What ran the matching operator: compiled (a CPU's), triton or plain."""


class Started(Settings):
    """What a cell's folder is about, before it has a record."""

    label: str
    config: CellConfig
    numerics: dict[str, int]


class Record(Settings):
    """A run's own account of itself. A failed one keeps what it had reached; with a `weights_hash` it was trained."""

    cell: str
    status: Literal["done", "failed"]
    label: str
    config: CellConfig
    """As resolved: the identity of the run together with `numerics` and `fingerprint`."""
    numerics: dict[str, int]
    fingerprint: str
    standin: str | None
    release: str = ""
    preset: str | None
    overrides: dict[str, Any]
    provenance: Provenance
    weights_hash: str | None = None
    tests: list[TestResult] = []
    seconds: dict[str, float] = {}
    """By phase: sampling, training (without sampling), saving of checkpoints, summed over segments."""
    steps: int = 0
    peak_bytes: int | None = None
    """Peak memory of training: of the device where there is one, else of the process."""
    bytes_per_image: int | None = None
    """What the head keeps of one gallery image."""
    parameters: dict[str, int] = {}
    """Trainable parameters of backbone (with neck) and head."""
    failure: Failure | None = None

    def result(self, test: str, state: str = "trained") -> TestResult | None:
        """The result on a test set, or None."""
        return next((item for item in self.tests if item.test == test and item.state == state), None)

    @property
    def training_seconds(self) -> float:
        """The Time of the tables: training with sampling, without evaluation."""
        return self.seconds.get("sampling", 0.0) + self.seconds.get("training", 0.0)


def write_atomically(path: Path, content: bytes, durable: bool = True) -> None:
    """Write a file so that readers see the old or the new content, never a part.

    With `durable` it survives a power cut as well.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = write_temporary(path, content, durable)
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def write_temporary(path: Path, content: bytes | memoryview, durable: bool = True) -> Path:
    """A file beside `path`, with the content on disk, that is to be renamed to it; gone again if that fails."""
    # Not from tempfile, whose files nobody else may read.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(folder: Path) -> None:
    """Delete what a process that died left half-written in its cell's folder. Needs the cell's lock."""
    for path in folder.glob(".*.json.*"):
        path.unlink(missing_ok=True)
    for name in (CHECKPOINT, "partial-"):
        for path in folder.glob(f".{name}*"):
            path.unlink(missing_ok=True)
    for path in folder.glob("spill-*"):
        shutil.rmtree(path, ignore_errors=True)


def write_record(folder: Path, record: Record) -> None:
    """Store a record in its cell's folder."""
    write_atomically(folder / RECORD, record.model_dump_json(indent=1).encode())


def read_record(folder: Path) -> Record | None:
    """The record of a cell's folder, None if it has none. Raises UserError for a damaged or foreign file."""
    path = folder / RECORD
    try:
        return Record.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as fault:
        first = fault.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{path} is not a record of this version ({where}: {first['msg']}); move its folder away"
        ) from fault


def read_records(results: Path) -> Iterator[Record]:
    """All records below a results folder, in the order of their folders' names."""
    for path in sorted((results / "runs").glob(f"*/{RECORD}")):
        record = read_record(path.parent)
        if record is not None:
            yield record


def write_started(folder: Path, started: Started) -> None:
    """Say what run a folder belongs to."""
    write_atomically(folder / STARTED, started.model_dump_json(indent=1).encode())


def read_started(results: Path) -> Iterator[tuple[Path, Started]]:
    """Folders below a results folder whose run was started, with or without a record. Damaged files are passed over."""
    for path in sorted((results / "runs").glob(f"*/{STARTED}")):
        try:
            yield path.parent, Started.model_validate_json(path.read_bytes())
        except ValidationError:
            continue


def is_running(folder: Path) -> bool:
    """Whether some process has the cell to itself at the moment. Writes nothing."""
    try:
        with (folder / LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False


@contextmanager
def cell_lock(folder: Path) -> Iterator[bool]:
    """Whether this process has the cell to itself for the block; the lock goes with the process.

    Tried for a second, since `is_running` holds the lock for a moment when it looks.
    """
    with (folder / LOCK).open("a") as file:
        for patience in range(10, -1, -1):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if patience == 0:
                    yield False
                    return
                time.sleep(0.1)
        yield True
