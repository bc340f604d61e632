"""What a measurement of speed leaves behind: one small file a device and setting, fit to be kept in git."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from bench.config import Settings, digest
from bench.journal.reading import Unreadable, as_json, listed, read_json
from bench.journal.record import Count, Provenance, write_atomically

FOLDER = "perf"

Positive = Annotated[float, Field(gt=1e-12, lt=1e15)]


class Timing(Settings):
    """One way of doing a task. `extra_bytes`: peak memory above inputs and outputs, None where not measured."""

    form: str
    seconds: list[Positive] = []
    extra_bytes: Count | None = None
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
    units: Count
    unit: str
    flop: Count | None = None
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
    queries: Count
    gallery: Count
    rates: list[Positive] = Field(min_length=1)
    peak_bytes: Count
    growth_bytes: int = Field(gt=-(2**63), lt=2**63)
    representation_bytes: Count
    budget: Count
    plan: str


class QueryTimes(Settings):
    """Calls that answered `batch` queries each, of which every one went through the first `pictures` of the gallery."""

    batch: Count
    pictures: Count
    encode: list[Positive] = Field(min_length=1)
    """Seconds of each call from decoded pictures to their representations."""
    match: list[Positive] = Field(min_length=1)
    """Seconds of each call from there to the best of the gallery."""


class Serving(Settings):
    """Queries of a study's row against a standing gallery.

    The times are of calls that go through as much of the gallery as time allows; for all of it they are projected,
    with `match` in proportion to the pictures. Without times, `note` says why.
    """

    study: str
    preset: str = ""
    row: str
    dtype: str
    gallery: Count
    bytes_per_image: Count = 0
    growth_bytes: Count = 0
    """Peak memory that gallery and queries add to the network's."""
    latency: QueryTimes | None = None
    throughput: QueryTimes | None = None
    note: str = ""

    def seconds(self, times: QueryTimes) -> list[float]:
        """Of each call, for the whole gallery."""
        share = self.gallery / times.pictures
        return [encode + share * match for encode, match in zip(times.encode, times.match, strict=True)]

    def is_projected(self, times: QueryTimes) -> bool:
        """Whether the calls went through a part of the gallery only."""
        return times.pictures < self.gallery


class Part(Settings):
    """One part of a step or a test; each repeat works through `units` images, pairs or queries."""

    name: str
    seconds: list[Positive] = Field(min_length=1)
    units: Count
    unit: str

    @property
    def median(self) -> float:
        """Seconds, the median of the repeats."""
        return statistics.median(self.seconds)


class Breakdown(Settings):
    """A row's whole training step, or whole test of made-up images, and its parts.

    `seconds` are those of the whole as a run does it; the parts are timed apart, with a wait for the GPU between them,
    so that they may add up to more. Without times, `note` says why.
    """

    task: Literal["step", "test"]
    study: str
    preset: str = ""
    overrides: str = ""
    row: str
    precision: str
    scoring: str
    size: str
    """Images of the batch, or queries x gallery images."""
    seconds: list[Positive] = []
    parts: list[Part] = []
    threads: Count = 0
    """Of the CPU."""
    peak_bytes: Count = 0
    """Of the GPU, or on a CPU of the whole process."""
    note: str = ""

    @property
    def median(self) -> float | None:
        """Seconds of the whole, the median of the repeats."""
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def subject(self) -> tuple[str, ...]:
        """What is measured: two breakdowns of one subject can be compared."""
        return (self.task, self.study, self.preset, self.overrides, self.row, self.precision, self.scoring, self.size)


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
    serving: list[Serving] = []
    breakdowns: list[Breakdown] = []
    label: str = ""
    """What tells this record from others of the same measurements, such as "before"."""

    @property
    def slug(self) -> str:
        """A name for files: device, threads, and a digest of sizes and subjects."""
        words = "".join(letter if letter.isalnum() else " " for letter in self.provenance.device).lower().split()
        measured = sorted({(item.subject, item.dtype) for item in self.comparisons})
        streamed = [[item.name, item.queries, item.gallery] for item in self.streaming]
        served = [[item.study, item.preset, item.row, item.dtype, item.gallery] for item in self.serving]
        broken_down = [list(item.subject) for item in self.breakdowns]
        # Records without what was added later keep the names they had before.
        later = [found for found in (served, broken_down) if found]
        key = digest([self.sizes.model_dump(), self.repeats, measured, streamed, *later])[:6]
        return f"{'-'.join(words)}-{self.threads}-threads-{key}{f'-{self.label}' if self.label else ''}"


def write_perf(results: Path, record: PerfRecord) -> Path:
    """Store a record; one of the same device, threads, sizes, subjects and label is replaced."""
    path = results / FOLDER / f"{record.slug}.json"
    write_atomically(path, as_json(record, indent=1) + b"\n")
    return path


def read_perf(results: Path, unreadable: list[Unreadable] | None = None) -> Iterator[PerfRecord]:
    """All records of speed below a results folder, by name.

    Those that cannot be read are added to `unreadable`; without it the first of them is raised.
    """
    for path in listed(results / FOLDER):
        if path.suffix != ".json":
            continue
        try:
            record = read_json(path, PerfRecord, "delete it, and `bench perf` measures anew")
        except Unreadable as fault:
            if unreadable is None:
                raise
            unreadable.append(fault)
            continue
        if record is not None:
            yield record
