"""`bench data check` of a set of one's own: splits, identities, cameras, and what is wrong with its pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.data.check import SetReport, SplitReport
from bench.data.dataset import UNKNOWN, ImageRecord
from bench.data.fingerprint import fingerprint
from bench.data.listing import brief
from bench.data.own import TABLE, OwnReading, own_faults, read_own
from bench.data.published import Counts


def check_own(name: str, file: Path, deep_workers: int = 0, progress: bool = False) -> SetReport:
    """Check the set that a file describes. With `deep_workers` > 0 every picture is opened in that many threads.

    Of pictures with boxes the sizes are always read. Raises UserError for a file of another form.
    """
    reading = read_own(file)
    beyond, outside = _boxes(reading)
    faults, notes = [*own_faults(reading), *outside], [*_notes(reading), *beyond]
    deep = ""
    if deep_workers:
        # Late: only the deep check needs Pillow and tqdm.
        from bench.data.deep_check import read_images

        looked = read_images(reading.root, reading.sizes, deep_workers, progress)
        deep = fingerprint(reading.sizes, {TABLE: reading.table.content}, looked.digests)
        if looked.unreadable:
            examples = [f"{reading.root / path} ({why})" for path, why in looked.unreadable.items()]
            faults.append(f"{len(examples):,} pictures cannot be opened: {brief(examples)}")
        notes += [f"{len(paths):,} pictures {remark}: {brief(paths)}" for remark, paths in looked.remarks.items()]
    return SetReport(
        name=name,
        data_dir=file.parent,
        title=file.name,
        root=reading.root,
        standin=reading.standin or "",
        splits=tuple(
            SplitReport(split, _counts(records), _cameras(records), None)
            for split, records in {
                "train": reading.train,
                "query": reading.query,
                "gallery": reading.gallery,
            }.items()
        ),
        fingerprint=reading.fingerprint,
        deep_fingerprint=deep,
        faults=tuple(faults),
        notes=tuple(notes),
        who="identities",
    )


def _counts(records: Sequence[ImageRecord]) -> Counts:
    return Counts(len(records), len({record.person for record in records}))


def _cameras(records: Sequence[ImageRecord]) -> int:
    return len({record.camera for record in records} - {UNKNOWN})


def _notes(reading: OwnReading) -> Iterable[str]:
    table = reading.table
    if shared := reading.in_both:
        yield (
            f"{len(shared):,} identities are both in training and in test: {brief(shared)}; a run that trains and tests"
            " on this set is refused"
        )
    tested = reading.query + reading.gallery
    if unknown := sum(record.camera == UNKNOWN for record in tested):
        which = "all" if unknown == len(tested) else f"{unknown:,}"
        yield f"{which} test images are of unknown cameras: no image is left out for them"
    both = {(record.path, record.box) for record in reading.query}
    if count := sum((record.path, record.box) in both for record in reading.gallery):
        yield f"{count:,} images are query and gallery: each is compared with all others, itself left out"
    if any(record.sequence != UNKNOWN for record in reading.query):
        yield "images of a query's own sequence are left out"
    others = sum(split not in ("train", reading.test_split) for split in table.split)
    if others:
        yield f"{others:,} lines of split validation are not used, as there is a split test"
    neither = [
        path
        for path, split, query, gallery in zip(table.path, table.split, table.query, table.gallery, strict=True)
        if split == reading.test_split and not query and not gallery
    ]
    if neither:
        yield f"{len(neither):,} images of split {reading.test_split} are neither query nor gallery: {brief(neither)}"


def _boxes(reading: OwnReading) -> tuple[list[str], list[str]]:
    """What to say of boxes that reach beyond their pictures, and of those that lie outside or cannot be held to one."""
    table = reading.table
    if not any(table.box):
        return [], []
    from bench.data.images import size_of, within

    sizes: dict[str, tuple[int, int] | None] = {}
    beyond, outside, unread = [], [], []
    for path, box, line in zip(table.path, table.box, table.line, strict=True):
        if box is None or path not in reading.sizes:
            continue
        if path not in sizes:
            sizes[path] = size_of(reading.places[path])
            if sizes[path] is None:
                unread.append(path)
        size = sizes[path]
        if size is None:
            continue
        try:
            if within(box, size) != box:
                beyond.append(f"line {line}")
        except ValueError:
            outside.append(f"line {line}")
    notes = [f"{len(beyond):,} boxes reach beyond their pictures, and are cut there: {brief(beyond)}"] if beyond else []
    faults = [f"{len(outside):,} boxes lie outside their pictures: {brief(outside)}"] if outside else []
    if unread:
        faults.append(f"{len(unread):,} pictures with boxes cannot be read: {brief(unread)}")
    return notes, faults
