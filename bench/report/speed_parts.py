"""Tables of whole training steps and whole tests with their parts, and of two records side by side."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from bench.perf.records import Breakdown, Part, PerfRecord, Timing
from bench.report.board import file_name
from bench.report.model import MISSING, Column, Footnotes, Table, Text, Value

OURS = "ours"

TITLES = {"step": "a training step and its parts", "test": "a test and its parts"}

NOTES = {
    "step": (
        "whole: a step as a run makes it, on made-up images; parts are timed apart, with a wait for the GPU between "
        "them. pick: images read and copied to the device; match: with the loss; optimiser: with clipping.",
        "Ratios and shares compare medians of repeats that were made in turn; in brackets half of their range.",
        "Peak memory is the GPU's, or on a CPU that of the whole process.",
    ),
    "test": (
        "whole: a test as a run makes it, on made-up images, within its memory budget and in its blocks; encode: from "
        "decoded images on.",
        "In brackets half of the range of the repeats.",
        "Peak memory is the GPU's, or on a CPU that of the whole process.",
    ),
}

AGAINST_NOTES = (
    "Medians of what both records measured alike. before/after: above 1 is faster than before.",
    "The two were not timed in turn: whatever else the machine did met one of them alone.",
)


def duration(seconds: float) -> str:
    """Three digits, in a unit that suits."""
    factor, unit = next((pair for pair in ((1, "s"), (1e3, "ms")) if seconds * pair[0] >= 1), (1e6, "µs"))
    return f"{seconds * factor:.3g} {unit}"


def breakdown_tables(record: PerfRecord, device: str, origin: str) -> Iterator[Table]:
    """A table for each kind of breakdown, study, preset and override. `device` and `origin` are in words."""
    asked = dict.fromkeys((item.task, item.study, item.preset, item.overrides) for item in record.breakdowns)
    for task, study, preset, overrides in asked:
        key = task, study, preset, overrides
        items = [item for item in record.breakdowns if item.subject[:4] == key]
        footnotes = Footnotes()
        what = [study, *([f"preset {preset}"] if preset else []), *([overrides] if overrides else [])]
        yield Table(
            slug=f"{file_name('speed', record.slug)}-{task}",
            title=f"Speed; {TITLES[task]}; {', '.join(what)}; {device}",
            banner=None,
            columns=_columns(items),
            rows=tuple(tuple(_row(item, _part_names(items), footnotes)) for item in items),
            values=tuple(value for item in items for value in _values(record, item, device)),
            footnotes=tuple(footnotes.texts),
            notes=(*NOTES[task], origin),
        )


def against_table(before: PerfRecord, after: PerfRecord, devices: tuple[str, str]) -> Table:
    """What two records measured alike, side by side. `devices` are theirs, in words."""
    left, right = _medians(before), _medians(after)
    rows = [
        (*map(Text, subject), *map(Text, (duration(left[subject]), duration(now), f"{left[subject] / now:.2f}")))
        for subject, now in right.items()
        if subject in left
    ]
    where = devices[0] if devices[0] == devices[1] else f"before {devices[0]}, after {devices[1]}"
    names = [_name(record) for record in (before, after)]
    return Table(
        slug=f"{file_name('speed', after.slug)}-against",
        title=f"Speed; before and after; {where}",
        banner=None,
        columns=(
            *(Column(heading, left=True) for heading in ("subject", "task", "part", "dtype")),
            *map(Column, ("size", "before", "after", "before/after")),
        ),
        rows=tuple(rows),
        values=(),
        footnotes=(),
        notes=(*AGAINST_NOTES, f"Before: {names[0]}. After: {names[1]}."),
    )


def pairs_to_compare(records: Sequence[PerfRecord]) -> Iterator[tuple[PerfRecord, PerfRecord]]:
    """Records of the same measurements that labels tell apart, each with the one that was made before it."""
    by_subject: dict[str, list[PerfRecord]] = {}
    for record in records:
        by_subject.setdefault(record.model_copy(update={"label": ""}).slug, []).append(record)
    for alike in by_subject.values():
        in_time = sorted(alike, key=lambda record: record.provenance.finished)
        yield from itertools.pairwise(in_time)


def _columns(items: Sequence[Breakdown]) -> tuple[Column, ...]:
    unit = "images/s" if items[0].task == "step" else "pairs/s"
    parts = [Column(name, "time") for name in _part_names(items)]
    return (
        Column("row", left=True),
        Column("precision", left=True),
        Column("scoring", left=True),
        Column("size"),
        Column("threads"),
        Column("whole", "time"),
        *parts,
        Column(unit),
        Column("peak memory (MiB)"),
    )


def _row(item: Breakdown, names: Sequence[str], footnotes: Footnotes) -> Iterator[Text]:
    yield Text(item.row, (footnotes.mark(item.note),) if item.note else ())
    yield from map(Text, (item.precision, item.scoring, item.size, f"{item.threads}"))
    if item.median is None:
        yield from (Text(MISSING) for _ in range(len(names) + 3))
        return
    yield _timed(Timing(form="whole", seconds=item.seconds))
    parts = {part.name: part for part in item.parts}
    for name in names:
        yield Text(f"{duration(parts[name].median)} ({_share(parts[name], item)})") if name in parts else Text(MISSING)
    yield Text(f"{max(part.units for part in item.parts) / item.median:,.1f}")
    yield Text(f"{item.peak_bytes / 2**20:,.0f}")


def _timed(timing: Timing) -> Text:
    return Text(f"{duration(timing.median)} ({100 * timing.spread:.0f}%)")


def _share(part: Part, item: Breakdown) -> str:
    """Of all parts together."""
    return f"{100 * part.median / sum(other.median for other in item.parts):.0f}%"


def _part_names(items: Sequence[Breakdown]) -> list[str]:
    return [*dict.fromkeys(part.name for item in items for part in item.parts)]


def _medians(record: PerfRecord) -> dict[tuple[str, ...], float]:
    """Seconds by subject, task, part, dtype and size."""
    found = {
        (item.subject, item.task, "", item.dtype, item.size): median
        for item in record.comparisons
        if (median := item.median(OURS)) is not None
    }
    for item in record.breakdowns:
        if item.median is not None:
            where = ", ".join(filter(None, (item.study, item.preset, item.overrides)))
            dtype = item.precision if item.task == "step" else item.scoring
            times = {"whole": item.median, **{part.name: part.median for part in item.parts}}
            for name, median in times.items():
                found[f"{item.row} ({where})", item.task, name, dtype, item.size] = median
    return found


def _name(record: PerfRecord) -> str:
    where = record.provenance
    label = f"{record.label}, " if record.label else ""
    return (
        f"{label}commit {where.commit[:8]}{' with uncommitted changes' if where.dirty else ''}, {where.finished[:10]}"
    )


def _values(record: PerfRecord, item: Breakdown, device: str) -> Iterator[Value]:
    def value(part: str, quantity: str, unit: str, mean: float, seeds: int) -> Value:
        return Value(
            study=item.study, preset=item.preset, overrides=item.overrides, standin="", method=item.row, kind=part,
            train="", test="", state=f"{item.task}, {item.precision}, {item.scoring}, {item.size}", quantity=quantity,
            unit=unit, better="lower", status="measured", mean=mean, seeds=seeds, device=device,
            commit=record.provenance.commit,
        )  # fmt: skip

    if item.median is None:
        return
    yield value("whole", "seconds", "s", item.median, len(item.seconds))
    for part in item.parts:
        yield value(part.name, "seconds", "s", part.median, len(part.seconds))
    yield value("whole", "peak_bytes", "bytes", item.peak_bytes, 1)
