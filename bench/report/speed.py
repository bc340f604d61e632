"""Tables of speed and memory, from what `bench perf` measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.perf.records import Comparison, PerfRecord, Timing
from bench.report.board import file_name
from bench.report.model import MISSING, Column, Footnotes, Table, Text, Value
from bench.report.serving import serving_tables
from bench.report.speed_parts import against_table, breakdown_tables, duration, pairs_to_compare

OURS, PLAIN, PLAIN_FLOAT32, LIMIT = "ours", "plain", "plain float32", "limit"

Entry = Callable[[Comparison, Footnotes], Text]

NOTES = (
    "Ratios compare medians of repeats that were made in turn, in one run; in brackets half of their range.",
    "plain: the same in PyTorch's own operations and modules, all pairs in one block, of the same dtype.",
    "limit: one large matrix product for each product that cannot be done without, and nothing else; with a batch "
    "against itself half of the similarities. GFLOP/s count these products alone.",
    "Training tasks are those of a batch with itself, from the feature map on (TransMatcher: from its levels on, FC1 "
    "included); scoring starts from what is kept of the images.",
    "Memory is the peak above inputs, scores and gradients, in a process of its own.",
)


PEER_NOTE = (
    "MaxSim: of each token the best similarity to a token of the other image, summed, in both directions, as packages "
    "for text retrieval have it. maxima with a prior: the operator's forward pass; FlexAttention does a softmax and a "
    "narrow product besides, and gives neither positions nor gradients."
)


@dataclass(frozen=True)
class _Field:
    column: Column
    entry: Entry


def speed_tables(records: Sequence[PerfRecord]) -> list[Table]:
    """Tables of records: matching, work shared with peers, everything around matching, steps, tests, galleries.

    Behind them those of records that labels tell apart, side by side.
    """
    made = []
    for record in records:
        parts = {
            "matching": [item for item in record.comparisons if item.timing(PLAIN) and item.flop is not None],
            "other": [item for item in record.comparisons if item.timing(PLAIN) and item.flop is None],
            "peers": [item for item in record.comparisons if not item.timing(PLAIN)],
        }
        matching = [*parts["matching"], *(item for item in parts["other"] if item.unit == "pair")]
        around = [item for item in parts["other"] if item.unit != "pair"]
        for kind, what, items, fields in (
            ("matching", "matching", matching, _MATCHING),
            ("peers", "work that others do too, beside them", parts["peers"], _peers(parts)),
            ("around", "around matching", around, _AROUND),
        ):
            if items:
                made.append(_table(record, kind, what, items, fields))
        if record.streaming:
            made.append(_streaming_table(record))
        made += breakdown_tables(record, _device(record), _origin(record))
        made += serving_tables(record, _device(record), _origin(record))
    made += [compared_speed(*pair) for pair in pairs_to_compare(records)]
    return made


def compared_speed(before: PerfRecord, after: PerfRecord) -> Table:
    """What two records measured alike, side by side; a table without rows if that is nothing."""
    return against_table(before, after, (_device(before), _device(after)))


def _table(record: PerfRecord, kind: str, what: str, items: Sequence[Comparison], fields: Sequence[_Field]) -> Table:
    footnotes = Footnotes()
    device = _device(record)
    return Table(
        slug=f"{file_name('speed', record.slug)}-{kind}",
        title=f"Speed; {what}; {record.sizes}; {device}",
        banner=None,
        columns=tuple(field.column for field in fields),
        rows=tuple(tuple(field.entry(item, footnotes) for field in fields) for item in items),
        values=tuple(value for item in items for value in _values(record, item, device)),
        footnotes=tuple(footnotes.texts),
        notes=(
            *(NOTES if kind == "matching" else NOTES[:1]),
            *([PEER_NOTE] if kind == "peers" else []),
            _origin(record),
        ),
    )


def _streaming_table(record: PerfRecord) -> Table:
    headings = ("test", "queries", "gallery", "pairs/s", "process (MiB)", "test (MiB)", "budget (MiB)", "kept (MiB)")
    footnotes = Footnotes()
    rows = []
    for item in record.streaming:
        sizes = [item.peak_bytes, item.growth_bytes, item.budget, item.representation_bytes]
        timing = Timing(form=OURS, seconds=[1 / rate for rate in item.rates])
        numbers = [f"{item.queries:,}", f"{item.gallery:,}", f"{1 / timing.median:,.0f} ({100 * timing.spread:.0f}%)"]
        numbers += [f"{size / 2**20:,.0f}" for size in sizes]
        rows.append((Text(item.name, (footnotes.mark(item.plan),)), *map(Text, numbers)))
    return Table(
        slug=f"{file_name('speed', record.slug)}-streaming",
        title=f"Speed; tests with made-up features; {_device(record)}",
        banner=None,
        columns=tuple(Column(heading, left=heading == "test") for heading in headings),
        rows=tuple(rows),
        values=(),
        footnotes=tuple(footnotes.texts),
        notes=(
            "Encoding by the head, scoring and ranking, without a backbone. Memory is the peak of the process, and "
            "what the test added to it; kept is what all representations take. Repeats are parts of the queries.",
            _origin(record),
        ),
    )


def _device(record: PerfRecord) -> str:
    where = record.provenance
    return f"{where.device}, {record.threads} threads" if where.device.startswith("CPU") else where.device


def _origin(record: PerfRecord) -> str:
    where = record.provenance
    changed = " with uncommitted changes" if where.dirty else ""
    versions = f"torch {where.versions.get('torch', '?')}; commit {where.commit[:8]}{changed}"
    return f"Operator: {where.kernel}; {versions}; {where.finished[:10]}."


def _values(record: PerfRecord, item: Comparison, device: str) -> list[Value]:
    def value(timing: Timing, quantity: str, unit: str, better: str, mean: float, **more) -> Value:
        return Value(
            study="speed", preset="", overrides=str(record.sizes), standin="", method=item.subject, kind=timing.form,
            train="", test="", state=f"{item.task}, {item.dtype}, {item.size}", quantity=quantity, unit=unit,
            better=better, status="measured", mean=mean, device=device, commit=record.provenance.commit, **more,
        )  # fmt: skip

    found = []
    for timing in item.timings:
        if timing.median is not None:
            repeats = len(timing.seconds)
            spread = (max(timing.seconds) - min(timing.seconds)) / 2
            found.append(value(timing, "seconds", "s", "lower", timing.median, spread=spread, seeds=repeats))
        if timing.extra_bytes is not None:
            found.append(value(timing, "extra_bytes", "bytes", "lower", timing.extra_bytes))
    return found


def _seconds(form: str) -> Entry:
    def entry(item: Comparison, footnotes: Footnotes) -> Text:
        timing = item.timing(form)
        if timing is None or timing.median is None:
            marks = (footnotes.mark(timing.note),) if timing and timing.note else ()
            return Text(MISSING, marks)
        return Text(f"{duration(timing.median)} ({100 * timing.spread:.0f}%)")

    return entry


def _ratio(above: str, below: str, decimals: int = 1) -> Entry:
    def entry(item: Comparison, footnotes: Footnotes) -> Text:
        upper, lower = item.median(above), item.median(below)
        return Text(f"{upper / lower:.{decimals}f}" if upper and lower else MISSING)

    return entry


def _faster_than_plain_float32(item: Comparison, footnotes: Footnotes) -> Text:
    return _ratio(PLAIN if item.dtype == "float32" else PLAIN_FLOAT32, OURS)(item, footnotes)


def _rate(form: str) -> Entry:
    def entry(item: Comparison, footnotes: Footnotes) -> Text:
        median = item.median(form)
        return Text(f"{item.units / median:,.0f}" if median else MISSING)

    return entry


def _units(form: str) -> Entry:
    def entry(item: Comparison, footnotes: Footnotes) -> Text:
        plural = "queries" if item.unit == "query" else f"{item.unit}s"
        return Text(f"{_rate(form)(item, footnotes).body} {plural}")

    return entry


def _gflops(form: str) -> Entry:
    def entry(item: Comparison, footnotes: Footnotes) -> Text:
        median = item.median(form)
        return Text(f"{item.flop / median / 1e9:,.0f}" if median and item.flop else MISSING)

    return entry


def _memory(form: str) -> Entry:
    def entry(item: Comparison, footnotes: Footnotes) -> Text:
        timing = item.timing(form)
        if timing is None or timing.extra_bytes is None:
            return Text(MISSING)
        return Text(f"{timing.extra_bytes / 2**20:,.0f}")

    return entry


def _share_of_plain(item: Comparison, footnotes: Footnotes) -> Text:
    sizes = [timing.extra_bytes if (timing := item.timing(form)) else None for form in (OURS, PLAIN)]
    return Text(f"{100 * sizes[0] / sizes[1]:.0f}" if None not in sizes and sizes[1] else MISSING)


def _text(read: Callable[[Comparison], str]) -> Entry:
    return lambda item, footnotes: Text(read(item))


_IDENTITY = (
    _Field(Column("subject", left=True), _text(lambda item: item.subject)),
    _Field(Column("task", left=True), _text(lambda item: item.task)),
    _Field(Column("dtype", left=True), _text(lambda item: item.dtype)),
    _Field(Column("size"), _text(lambda item: item.size)),
)

_MATCHING = (
    *_IDENTITY,
    _Field(Column("ours", "time"), _seconds(OURS)),
    _Field(Column("plain", "time"), _seconds(PLAIN)),
    _Field(Column("limit", "time"), _seconds(LIMIT)),
    _Field(Column("plain/ours", "ratio"), _ratio(PLAIN, OURS)),
    _Field(Column("plain float32/ours", "ratio"), _faster_than_plain_float32),
    _Field(Column("ours/limit", "ratio"), _ratio(OURS, LIMIT, 2)),
    _Field(Column("ours", "pairs/s"), _rate(OURS)),
    _Field(Column("ours", "GFLOP/s"), _gflops(OURS)),
    _Field(Column("limit", "GFLOP/s"), _gflops(LIMIT)),
    _Field(Column("ours", "memory (MiB)"), _memory(OURS)),
    _Field(Column("plain", "memory (MiB)"), _memory(PLAIN)),
    _Field(Column("% of plain", "memory (MiB)"), _share_of_plain),
)

_AROUND = (
    *_IDENTITY,
    _Field(Column("ours", "time"), _seconds(OURS)),
    _Field(Column("plain", "time"), _seconds(PLAIN)),
    _Field(Column("plain/ours", "ratio"), _ratio(PLAIN, OURS)),
    _Field(Column("ours", "units/s"), _units(OURS)),
    _Field(Column("plain", "units/s"), _units(PLAIN)),
)


def _peers(parts: dict[str, list[Comparison]]) -> tuple[_Field, ...]:
    names = dict.fromkeys(timing.form for item in parts["peers"] for timing in item.timings)
    others = [name for name in names if name != OURS]
    return (
        *_IDENTITY,
        *(_Field(Column(name, "time"), _seconds(name)) for name in names),
        *(_Field(Column(f"{name}/ours", "ratio"), _ratio(name, OURS)) for name in others),
    )
