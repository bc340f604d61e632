"""What a measurement of speed leaves behind: one small file a device and setting, fit to be kept in git."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from bench.config import Settings, digest
from bench.errors import UserError
from bench.journal.record import Provenance, write_atomically

FOLDER = "perf"


class Timing(Settings):
    """One way of doing a task. `extra_bytes`: peak memory above inputs and outputs, None where not measured."""

    form: str
    seconds: list[float] = []
    extra_bytes: int | None = None
    note: str = ""
    """Why it was not measured, or what is particular about it."""

    @property
    def median(self) -> float | None:
        """Seconds, the median of the repeats."""
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def spread(self) -> float | None:
        """Half of the range of the repeats as a share of their median."""
        return (max(self.seconds) - min(self.seconds)) / 2 / self.median if self.seconds else None


class Comparison(Settings):
    """Several ways of doing one task, timed in turn. `units` pairs, images or queries are worked through at a time."""

    subject: str
    task: str
    dtype: str
    size: str
    units: int
    unit: str
    flop: int | None = None
    """Floating-point operations of the matrix products that the task cannot do without."""
    timings: list[Timing]

    def timing(self, form: str) -> Timing | None:
        """The timing of a form, None if there is none."""
        return next((timing for timing in self.timings if timing.form == form), None)

    def median(self, form: str) -> float | None:
        """Median seconds of a form, None where it was not measured."""
        timing = self.timing(form)
        return timing.median if timing else None


class Streaming(Settings):
    """A test with made-up features; `rates` in pairs/s by repeat, memory in bytes, `growth_bytes` the test's own."""

    name: str
    queries: int
    gallery: int
    rates: list[float]
    peak_bytes: int
    growth_bytes: int
    representation_bytes: int
    budget: int
    plan: str


class PerfSizes(Settings):
    """Sizes of what is measured: B, T, d, D, N as in the heads."""

    batch: int
    tokens: int
    width: int
    feedforward: int
    layers: int

    def __str__(self) -> str:
        return f"B={self.batch}, T={self.tokens}, d={self.width}, D={self.feedforward}, N={self.layers}"


class PerfRecord(Settings):
    """All measurements of one run of `bench perf`."""

    sizes: PerfSizes
    threads: int
    repeats: int
    provenance: Provenance
    comparisons: list[Comparison]
    streaming: list[Streaming] = []

    @property
    def slug(self) -> str:
        """A name for files: device, threads, and a digest of sizes and subjects."""
        words = "".join(letter if letter.isalnum() else " " for letter in self.provenance.device).lower().split()
        measured = sorted({(item.subject, item.dtype) for item in self.comparisons})
        streamed = [[item.name, item.queries, item.gallery] for item in self.streaming]
        key = digest([self.sizes.model_dump(), self.repeats, measured, streamed])[:6]
        return f"{'-'.join(words)}-{self.threads}-threads-{key}"


def write_perf(results: Path, record: PerfRecord) -> Path:
    """Store a record; one of the same device, threads, sizes and subjects is replaced."""
    path = results / FOLDER / f"{record.slug}.json"
    write_atomically(path, (record.model_dump_json(indent=1) + "\n").encode())
    return path


def read_perf(results: Path) -> Iterator[PerfRecord]:
    """All records of speed below a results folder. Raises UserError for a damaged or foreign file."""
    for path in sorted((results / FOLDER).glob("*.json")):
        yield _read(path)


def _read(path: Path) -> PerfRecord:
    try:
        return PerfRecord.model_validate_json(path.read_bytes())
    except ValidationError as fault:
        raise UserError(
            f"{path} is not a speed record of this version; delete it and run `bench perf` again"
        ) from fault
