"""The table of galleries that answer queries: what an engineer has to know of each row."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from bench.perf.records import PerfRecord, QueryTimes, Serving
from bench.report.board import file_name
from bench.report.model import MISSING, Column, Footnotes, Table, Text, Value

NOTES = (
    "From decoded pictures to the ten best of the gallery: encoding by backbone and head, scoring as in a test, "
    "sorting. Median and 95th percentile are over calls with one query.",
    "Weights are random and pictures random pixels, 64 of which the gallery repeats: neither moves time or memory.",
    "Memory added is the peak above the network, with the gallery, in a process of its own.",
)

PROJECTED = "~: projected; the calls went through fewer pictures, and matching is taken to grow with their number."

_COLUMNS = (
    Column("row", left=True),
    Column("dtype", left=True),
    Column("encode", "one query (ms)"),
    Column("median", "one query (ms)"),
    Column("95 %", "one query (ms)"),
    Column("queries/s", "64 queries"),
    Column("a picture (KiB)", "gallery"),
    Column("all (MiB)", "gallery"),
    Column("memory added (MiB)"),
)


def serving_tables(record: PerfRecord, device: str, origin: str) -> Iterator[Table]:
    """A table for each study, preset and size of gallery. `device` and `origin` are in words."""
    asked = dict.fromkeys((item.study, item.preset, item.gallery) for item in record.serving)
    for study, preset, gallery in asked:
        items = [item for item in record.serving if (item.study, item.preset, item.gallery) == (study, preset, gallery)]
        footnotes = Footnotes()
        calls = [(item, times) for item in items for times in (item.latency, item.throughput) if times is not None]
        projected = any(item.is_projected(times) for item, times in calls)
        yield Table(
            slug=f"{file_name('speed', record.slug)}-serving",
            title=f"Serving a gallery of {gallery:,}; {study}{f', preset {preset}' if preset else ''}; {device}",
            banner=None,
            columns=_COLUMNS,
            rows=tuple(tuple(_row(item, footnotes)) for item in items),
            values=tuple(value for item in items for value in _values(record, item, device)),
            footnotes=tuple(footnotes.texts),
            notes=(*NOTES, *([PROJECTED] if projected else []), origin),
        )


def percentile_95(seconds: Sequence[float]) -> float:
    """By linear interpolation between the two nearest; one alone is its own."""
    return statistics.quantiles(seconds, n=20, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]


def _row(item: Serving, footnotes: Footnotes) -> Iterator[Text]:
    yield Text(item.row, (footnotes.mark(item.note),) if item.note else ())
    yield Text(item.dtype)
    if item.latency is None or item.throughput is None:
        yield from (Text(MISSING) for _ in _COLUMNS[2:])
        return
    seconds = item.seconds(item.latency)
    yield Text(_number(1e3 * statistics.median(item.latency.encode)))
    for value in (statistics.median(seconds), percentile_95(seconds)):
        yield _maybe_projected(1e3 * value, item, item.latency, footnotes)
    yield _maybe_projected(_rate(item, item.throughput), item, item.throughput, footnotes)
    yield Text(_number(item.bytes_per_image / 2**10))
    for size in (item.gallery * item.bytes_per_image, item.growth_bytes):
        yield Text(_number(size / 2**20))


def _maybe_projected(value: float, item: Serving, times: QueryTimes, footnotes: Footnotes) -> Text:
    if not item.is_projected(times):
        return Text(_number(value))
    return Text(f"~{_number(value)}", (footnotes.mark(f"projected from {times.pictures:,} pictures of the gallery"),))


def _rate(item: Serving, times: QueryTimes) -> float:
    """Queries a second."""
    return times.batch / statistics.median(item.seconds(times))


def _number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _values(record: PerfRecord, item: Serving, device: str) -> Iterator[Value]:
    def value(quantity: str, unit: str, better: str, mean: float, times: QueryTimes | None = None) -> Value:
        state = f"{item.dtype}, gallery {item.gallery}"
        if times is not None and item.is_projected(times):
            state += f", projected from {times.pictures}"
        return Value(
            study=item.study, preset=item.preset, overrides="", standin="", method=item.row, kind="study", train="",
            test="", state=state, quantity=quantity, unit=unit, better=better, status="measured", mean=mean,
            seeds=len(times.match) if times is not None else 0, device=device, commit=record.provenance.commit,
        )  # fmt: skip

    if item.latency is None or item.throughput is None:
        return
    seconds = item.seconds(item.latency)
    yield value("latency", "s", "lower", statistics.median(seconds), item.latency)
    yield value("latency_95", "s", "lower", percentile_95(seconds), item.latency)
    yield value("throughput", "queries/s", "higher", _rate(item, item.throughput), item.throughput)
    yield value("gallery_bytes", "bytes", "lower", item.gallery * item.bytes_per_image)
    yield value("growth_bytes", "bytes", "lower", item.growth_bytes)
