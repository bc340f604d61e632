"""Tables of shortlists, from what `bench shortlist` measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.journal.shortlists import NOTHING_LOST, ShortlistPoint, ShortlistRecord
from bench.report.board import file_name
from bench.report.model import Column, ShortlistValue, Table, Text
from bench.report.titles import set_title, source_title

LOSSLESS = "="

COLUMNS = (
    Column("row", left=True),
    Column("n"),
    Column("mAP (%)"),
    Column("Rank-1 (%)"),
    Column("pairs a query"),
    Column("queries/s"),
    Column("bytes a picture"),
)
NOTES = (
    "n: the gallery images that the head scores, the best by the vector; the others rank behind them, in the vector's "
    "order. The first line is the vector alone; of each row the last one is the head alone, without vectors.",
    "queries/s: one query at a time, by the median of a sample: search by all vectors, then the head; encoding the "
    "query, by both networks, is not counted. Representations lie in memory; no index is used.",
)


def groups(records: Iterable[ShortlistRecord]) -> list[list[ShortlistRecord]]:
    """Records that may share a picture: of the same vectors, test images, device and threads; best rows first."""
    found: dict[tuple[object, ...], list[ShortlistRecord]] = {}
    for record in records:
        where = record.provenance.device, record.threads
        found.setdefault((record.by, record.test, record.fingerprint, *where), []).append(record)
    return [sorted(group, key=lambda record: (-record.points[-1].mAP, record.run)) for group in found.values()]


def slug(group: Sequence[ShortlistRecord]) -> str:
    """A name for the files of a group."""
    first = group[0]
    words = "".join(letter if letter.isalnum() else " " for letter in first.provenance.device).lower().split()
    return file_name("shortlist", f"{first.by}-{first.test}-{first.fingerprint[:6]}-{'-'.join(words)}-{first.threads}")


def title(group: Sequence[ShortlistRecord]) -> str:
    """What a table and a picture of a group are about."""
    first = group[0]
    device = first.provenance.device
    where = f"{device}, {first.threads} thread{'s' * (first.threads > 1)}" if device.startswith("CPU") else device
    recipe = f"preset {first.preset}" if first.preset else "the paper's recipe"
    tested = f"{set_title(first.test)}, {first.queries:,} queries, {first.gallery_images:,} gallery images"
    trained = f"trained on {source_title(first.train)}, seed {first.seed}"
    return f"Shortlist by {first.by_label}, then the head; {trained}; {tested}; {recipe}; {where}"


def banner(group: Sequence[ShortlistRecord]) -> str | None:
    """The warning above everything made from stand-in data, None for real data."""
    text = next((record.standin for record in group if record.standin), None)
    return text and f"{text.replace('stand-in data', 'STAND-IN DATA')}: not comparable with the paper."


def shortlist_tables(records: Iterable[ShortlistRecord]) -> list[Table]:
    """One table for each group of records."""
    return [_table(group) for group in groups(records)]


def names(group: Sequence[ShortlistRecord]) -> list[str]:
    """What the rows are called: their labels, or the runs' names where a label is not one's own."""
    labels = [record.label for record in group]
    return [record.label if labels.count(record.label) == 1 else record.run for record in group]


def _table(group: Sequence[ShortlistRecord]) -> Table:
    first = group[0]
    rows = [_row(f"{first.by_label} alone", first.alone, 0, False)]
    values = [_value(first, first.by_label, first.alone)]
    for record, name in zip(group, names(group), strict=True):
        rows += [
            _row(name if at == 0 else "", point, record.gallery_images, point == record.lossless)
            for at, point in enumerate(record.curve)
        ]
        values += [_value(record, name, point) for point in record.curve]
    changed = " with uncommitted changes" if first.provenance.dirty else ""
    origin = f"Commit {first.provenance.commit[:8]}{changed}; {first.provenance.finished[:10]}."
    return Table(
        slug=slug(group),
        title=title(group),
        banner=banner(group),
        columns=COLUMNS,
        rows=tuple(rows),
        values=tuple(values),
        notes=(*NOTES, origin),
        explained=(
            f"{LOSSLESS} from this n on nothing is lost: no mAP more than {100 * NOTHING_LOST:g} points below that of "
            "the whole gallery",
        ),
        value_kind=ShortlistValue,
    )


def _row(name: str, point: ShortlistPoint, gallery: int, lossless: bool) -> tuple[Text, ...]:
    whole = " (all)" if point.length and point.length == gallery else ""
    return (
        Text(name),
        Text(f"{point.length:,}{whole}" if point.length else "", (LOSSLESS,) if lossless else ()),
        Text(f"{100 * point.mAP:.2f}"),
        Text(f"{100 * point.rank1:.2f}"),
        Text(f"{point.length:,}"),
        Text(f"{point.queries_per_second:,.4g}" if point.queries_per_second < 100 else _whole(point)),
        Text(f"{point.bytes_per_image:,}"),
    )


def _whole(point: ShortlistPoint) -> str:
    return f"{point.queries_per_second:,.0f}"


def _value(record: ShortlistRecord, name: str, point: ShortlistPoint) -> ShortlistValue:
    return ShortlistValue(
        preset=record.preset or "",
        standin=record.standin or "",
        method=name,
        run=record.run if point.length else record.by,
        by=record.by,
        train=record.train,
        seed=record.seed,
        test=record.test,
        queries=record.queries,
        gallery=record.gallery_images,
        length=point.length,
        mAP=point.mAP,
        rank1=point.rank1,
        pairs_per_query=point.length,
        queries_per_second=point.queries_per_second,
        timed_queries=len(point.seconds),
        bytes_per_image=point.bytes_per_image,
        nothing_lost=bool(point.length) and point.length >= record.lossless.length,
        device=record.provenance.device,
        threads=record.threads,
        commit=record.provenance.commit,
    )
