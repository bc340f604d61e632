"""The table of what a study will take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.report.model import MISSING, Column, Footnotes, Table, Text
from bench.report.speed_parts import duration
from bench.running.forecast import Forecast, image_bytes

NOTES = (
    "Projected from tiles timed just now, on the machine as busy as it was, with random weights and pixels. "
    "runs: with something left to do; "
    "what is finished is left out. step, sampling, test: one step, all epochs' sampling and one test of one run.",
    "Left out: decoding images, starting and saving. Runs that share a machine slow each other down.",
    "memory: the peak of one run. disk: networks that are kept, ranked lists, and what one run needs meanwhile.",
)

PUBLISHED = "counts published of the set, which is not at hand"
STANDIN = "counts of the stand-in set, which is not written yet"
PROJECTED = "a whole step takes too long to be timed here: projected from {timed} of {batch} images"

GIB = 2**30


def forecast_table(title: str, found: Sequence[Forecast], device: str, on_gpu: bool) -> Table:
    """A line for each row and training set, and their sum. `device` in words."""
    footnotes = Footnotes()
    tests = list(dict.fromkeys(name for item in found for name in item.load.tests))
    several = len({item.load.config.train for item in found}) > 1
    rows = [tuple(_row(item, tests, on_gpu, footnotes)) for item in found]
    if len(found) > 1:
        rows.append(tuple(_sum(found, tests, on_gpu)))
    return Table(
        slug="plan",
        title=f"What is left of {title}; {device}" + ("" if several else f"; trained on {found[0].load.config.train}"),
        banner=None,
        columns=_columns(tests, on_gpu),
        rows=tuple(rows),
        values=(),
        footnotes=tuple(footnotes.texts),
        notes=(*NOTES, f"Decoded images of all runs together: {_gib(image_bytes(item.load for item in found))} GiB."),
    )


def _columns(tests: Sequence[str], on_gpu: bool) -> tuple[Column, ...]:
    return (
        Column("row", left=True),
        Column("train", left=True),
        Column("runs"),
        Column("step", "time of one"),
        Column("steps"),
        Column("sampling", "time of one"),
        *(Column(f"test {name}", "time of one") for name in tests),
        Column("GPU-hours" if on_gpu else "hours"),
        *([Column("GPU (GiB)", "memory")] if on_gpu else []),
        Column("host (GiB)", "memory"),
        Column("disk (GiB)"),
    )


def _row(item: Forecast, tests: Sequence[str], on_gpu: bool, footnotes: Footnotes) -> Iterator[Text]:
    load = item.load
    marks = [footnotes.mark(item.note)] if item.note else []
    if load.shared:
        marks.append(footnotes.mark("runs that a row above has too are counted there"))
    yield Text(load.cell.label, tuple(marks))
    yield Text(load.config.train, _known(load.train.known, footnotes))
    yield Text(f"{load.runs}")
    if item.note:
        yield from (Text(MISSING) for _ in range(len(tests) + 6 + on_gpu))
        return
    marks = ()
    if item.projected:
        marks = (footnotes.mark(PROJECTED.format(timed=item.tiles.timed, batch=item.tiles.batch)),)
    yield Text(("~" if item.projected else "") + duration(item.step), marks)
    yield Text(f"{load.steps:,}")
    yield Text(_span(item.sampling))
    for name in tests:
        known = _known(load.tests[name].known, footnotes) if name in load.tests else ()
        yield Text(_span(item.tests[name]) if name in item.tests else "", known)
    yield Text(_hours(item.seconds))
    if on_gpu:
        yield Text(_gib(item.device_bytes))
    yield Text(_gib(item.host_bytes))
    yield Text(_gib(item.checkpoint_bytes + item.list_bytes + (item.spilled_bytes if load.runs else 0)))


def _sum(found: Sequence[Forecast], tests: Sequence[str], on_gpu: bool) -> Iterator[Text]:
    """All rows: hours and disk together, memory of the largest."""
    yield from (Text("all"), Text(""), Text(f"{sum(item.load.runs for item in found)}"))
    yield from (Text("") for _ in range(3 + len(tests)))
    yield Text(_hours(sum(item.seconds for item in found)))
    if on_gpu:
        yield Text(_gib(max(item.device_bytes for item in found)))
    yield Text(_gib(max(item.host_bytes for item in found)))
    yield Text(_gib(sum(item.checkpoint_bytes + item.list_bytes for item in found) + _spilled(found)))


def _spilled(found: Sequence[Forecast]) -> int:
    return max(item.spilled_bytes if item.load.runs else 0 for item in found)


def _known(known: str, footnotes: Footnotes) -> tuple[str, ...]:
    return () if known == "found" else (footnotes.mark(PUBLISHED if known == "published" else STANDIN),)


def _span(seconds: float) -> str:
    """Seconds up to two minutes, minutes up to two hours."""
    if seconds < 120:
        return duration(seconds)
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{_hours(seconds)} h"


def _hours(seconds: float) -> str:
    return _number(seconds / 3600)


def _gib(size: int) -> str:
    return _number(size / GIB)


def _number(value: float) -> str:
    """Two digits, or all before the point."""
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.2g}"
