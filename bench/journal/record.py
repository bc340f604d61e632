"""What is known of a finished or failed run, and how it lies on disk.

<results>/runs/<cell>/record.json      this file's `Record`
<results>/runs/<cell>/log.jsonl        one line per epoch
<results>/runs/<cell>/checkpoint.pt    the network; while training, all that resuming needs
<results>/runs/<cell>/lists-<test>.npz the ranked lists of a test (bench.journal.lists)
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

from bench.config import CellConfig, Settings
from bench.errors import CellFailed
from bench.journal.measures import Count, Level, Look, Seconds, Share
from bench.journal.reading import Unreadable, as_json, listed, read_json
from bench.system.locks import try_lock

RECORD, STARTED, LOG = "record.json", "started.json", "log.jsonl"
CHECKPOINT, LOCK = "checkpoint.pt", ".lock"

Content = bytes | memoryview | Callable[[IO[bytes]], object]
"""What is to be in a file; a function writes to the file what would take memory as a whole."""


class SplitResult(Settings):
    """One of the tests of a small set. `split` counts from 0; `swapped`: with query and gallery side swapped."""

    split: int
    swapped: bool
    rank1: Share
    mAP: Share
    mAP_trapezoid: Share
    mINP: Share | None = None
    """None in records of earlier versions."""
    cmc: list[Share]
    queries: Count
    """How many of the test result's per-query values are this split's; the splits' follow one another."""
    gallery_images: Count


class TestResult(Settings):
    """One network on one test set. Accuracies are shares of 1; seconds are wall-clock; memory is in bytes.

    On a set of several splits accuracies and levels are means over `splits`.
    """

    test: str
    state: Literal["trained", "untrained"]
    rank1: Share
    mAP: Share
    mAP_trapezoid: Share
    mINP: Share | None = None
    """Mean of a query's matches / rank of the last of them; None in records of earlier versions."""
    cmc: list[Share]
    """Shares of queries with a match among the first 1, 2, ... 20."""
    query_index: list[int]
    """Positions, in the query list, of the queries that count (those with a match left); of swapped splits, in the
    gallery list."""
    first_rank: list[int]
    """For each such query, the rank of its first match, from 1."""
    average_precision: list[Share]
    query_person: list[int] = []
    """Person of each such query; as its camera, its number of matches and `last_rank` [] in older records."""
    query_camera: list[int] = []
    matches: list[int] = []
    last_rank: list[int] = []
    """For each such query, the rank of its last match, from 1."""
    gallery_images: Count
    """Of several splits, those that any of them may use."""
    chance: Level
    """What random scores reach on average."""
    pixels: Level | None = None
    """Cosine of average-pooled pixels, where baselines were asked for."""
    fingerprint: str
    standin: str | None = None
    seconds: dict[str, Seconds]
    """By phase: encoding, matching, ranking."""
    peak_bytes: Count
    """Peak memory of the test: of the device where it is a GPU, else of the process."""
    pairs: Count
    """Scores computed; pairs / seconds["matching"] is the matching rate."""
    block_parts: Count = 1
    """Into how many parts blocks of pairs were cut in the end, because memory ran out; 1: it never did."""
    splits: list[SplitResult] = []
    """The single tests of a small set; [] for sets with one query list and one gallery."""
    split_source: str = ""
    """Where the splits are from, with the first digits of their hash."""
    left_out: list[Literal["camera", "itself", "sequence"]] = ["camera"]
    """Which gallery images did not count for a query: those of its person and camera, its own image, its sequence."""
    lists: str = ""
    """SHA-256 of the file of ranked lists that belongs to this result; "" for none, as in older records."""
    lists_refused: str = ""
    """Why the lists of a later test were not stored: it gave other numbers. "" where that did not happen."""

    @property
    def spread_over_splits(self) -> Level | None:
        """Sample standard deviations over the splits; None for fewer than two."""
        if len(self.splits) < 2:
            return None
        shares = ("rank1", "mAP")
        return Level(**{name: statistics.stdev(getattr(split, name) for split in self.splits) for name in shares})


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
    capability: str = ""
    """Of a GPU: NVIDIA's compute capability, such as 8.0, or AMD's architecture; "" elsewhere and in older records."""
    driver: str = ""
    tf32: bool | None = None
    """Whether TF32 was allowed on a GPU; None elsewhere, and in older records: there for convolutions alone."""


class Started(Settings):
    """What a cell's folder is about, before it has a record."""

    label: str
    config: CellConfig
    numerics: dict[str, int]


class Record(Settings):
    """A run's own account of itself. A failed one keeps what it had reached; with a `weights_hash` it was trained."""

    cell: str
    status: Literal["done", "trained", "failed"]
    """"trained" until all tests that were asked for are there."""
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
    seconds: dict[str, Seconds] = {}
    """By phase: sampling, training (without sampling), looking, saving of checkpoints, summed over segments."""
    steps: Count = 0
    """Batches that training went through."""
    skipped_steps: Count = 0
    """Those of them that changed nothing, since the gradient overflowed in fp16."""
    looks: list[Look] = []
    """From step 0 to the last one, where training.held_out_every asked for them."""
    peak_bytes: Count | None = None
    """Peak memory of training: of the device where there is one, else of the process."""
    bytes_per_image: Count | None = None
    """What the head keeps of one gallery image."""
    parameters: dict[str, Count] = {}
    """Trainable parameters of backbone (with neck) and head."""
    failure: Failure | None = None

    def result(self, test: str, state: str = "trained") -> TestResult | None:
        """The result on a test set, or None."""
        return next((item for item in self.tests if item.test == test and item.state == state), None)

    def lacking(self, tests: Iterable[str], states: Iterable[str] = ("trained",)) -> list[tuple[str, str]]:
        """(test set, state) pairs without a result."""
        return [(test, state) for state in states for test in tests if self.result(test, state) is None]

    def is_done(self, tests: Iterable[str] = (), states: Iterable[str] = ("trained",)) -> bool:
        """Whether the run has come to its end, with all results that are asked for: the one answer to this question.

        What a run of an earlier version says is not enough: it said done before its tests.
        """
        tested = any(item.state == "trained" for item in self.tests)
        return self.status == "done" and tested and not self.lacking(tests, states)

    @property
    def training_seconds(self) -> float:
        """The Time of the tables: training with sampling, without evaluation."""
        return self.seconds.get("sampling", 0.0) + self.seconds.get("training", 0.0)


def write_atomically(path: Path, content: Content, durable: bool = True) -> None:
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


def write_temporary(path: Path, content: Content, durable: bool = True) -> Path:
    """A file beside `path`, with the content on disk, that is to be renamed to it; gone again if that fails."""
    # Not from tempfile, whose files nobody else may read.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            content(file) if callable(content) else file.write(content)
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
    for pattern in (".*.json.*", f".{CHECKPOINT}*", ".partial-*", ".lists-*"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
    for path in folder.glob("spill-*"):
        shutil.rmtree(path, ignore_errors=True)


def write_record(folder: Path, record: Record) -> None:
    """Store a record in its cell's folder. Raises CellFailed for one that could not be read back."""
    try:
        json.dumps(record.model_dump(), allow_nan=False)
    except ValueError as fault:
        reason = "the record holds a value that JSON cannot, such as inf or NaN, and was not written"
        raise CellFailed(reason) from fault
    write_atomically(folder / RECORD, as_json(record, indent=1))


def read_record(folder: Path) -> Record | None:
    """The record of a cell's folder, None if it has none. Raises Unreadable for what is no record of this version."""
    return read_json(folder / RECORD, Record, "move its folder away, and `bench run` makes the run anew")


def read_records(results: Path, unreadable: list[Unreadable] | None = None) -> Iterator[Record]:
    """All records below a results folder, in the order of their folders' names.

    Those that cannot be read are added to `unreadable`; without it the first of them is raised.
    """
    for folder in cell_folders(results):
        try:
            record = read_record(folder)
        except Unreadable as fault:
            if unreadable is None:
                raise
            unreadable.append(fault)
            continue
        if record is not None:
            yield record


def cell_folders(results: Path) -> list[Path]:
    """The folders of runs, by name. Raises Unreadable if they cannot be listed."""
    return listed(results / "runs")


def write_started(folder: Path, started: Started) -> None:
    """Say what run a folder belongs to."""
    write_atomically(folder / STARTED, as_json(started, indent=1))


def read_started(folder: Path) -> Started | None:
    """What run a folder belongs to, None if it does not say. Raises Unreadable for what is not of this version."""
    return read_json(folder / STARTED, Started, "move its folder away if nothing runs in it")


def is_running(folder: Path) -> bool | None:
    """Whether some process has the cell to itself at the moment, None if this machine cannot tell. Writes nothing."""
    try:
        with (folder / LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None


@contextmanager
def cell_lock(folder: Path) -> Iterator[bool]:
    """Whether this process has the cell to itself for the block; the lock goes with the process.

    Tried for a second, since `is_running` holds the lock for a moment when it looks.
    """
    with (folder / LOCK).open("a") as file:
        for _ in range(10):
            if mine := try_lock(file.fileno()):
                break
            time.sleep(0.1)
        yield mine
