"""`bench data check`: is each set there, whole, and the one that was published?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.config import SMALL_TEST_SETS
from bench.data.listing import brief, obstacles, standin_folders
from bench.data.published import PUBLISHED, Counts, Published
from bench.data.reading import DISTRACTOR, Entry, Reading, faults, set_fingerprint
from bench.data.registry import NAMES, absence, read_set, set_kind
from bench.data.splits import with_splits
from bench.errors import UserError
from bench.system.paths import expand

_UNASKED = [name for name in NAMES if not name.endswith("_all")]
"""What is looked for where no names are given: not the same images a second time."""


@dataclass(frozen=True)
class _DeepLook:
    """Of all images of a set: the fingerprint of their bytes, what is wrong with them, and what is worth knowing."""

    fingerprint: str = ""
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


_DeepLooks = dict[tuple[Path, str], _DeepLook]
"""By root and fingerprint: msmt and msmt_all are the same files, read once."""


@dataclass(frozen=True)
class SplitReport:
    """What one split holds, and what it should; `published` is None where nothing is published (stand-in data)."""

    split: str
    found: Counts
    cameras: int
    published: Counts | None


@dataclass(frozen=True)
class SetReport:
    """What was found of one set. `root` is None if the set could not be read; then `faults` says why.

    `faults` make the set incomplete, `notes` do not. `deep_fingerprint` covers the bytes of all images and is ""
    unless these were read.
    """

    name: str
    data_dir: Path
    title: str = ""
    root: Path | None = None
    standin: str = ""
    splits: tuple[SplitReport, ...] = ()
    fingerprint: str = ""
    deep_fingerprint: str = ""
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    who: str = "persons"
    """What the set's labels tell apart."""


@dataclass(frozen=True)
class CheckReport:
    """The reports on all sets that were checked, and what beside them could not be looked into."""

    sets: tuple[SetReport, ...]
    obstacles: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether no set has a fault."""
        return not any(report.faults for report in self.sets)


def check(
    names: Sequence[str] | None,
    data_dir: str | Path,
    deep: bool = False,
    workers: int = 1,
    msmt_release: str | None = None,
    progress: bool = False,
) -> CheckReport:
    """Check the sets `names`, or with None all that are there (but for `*_all`), below `data_dir`.

    Where `data_dir` itself has none of them, its stand-in folders `standin-*` are checked, each. `deep` opens and
    hashes every image in `workers` >= 1 threads. Raises UserError if a name is unknown or a named set is absent, or
    if no names are given and no set is there; other faults are in the report.
    """
    data_dir = expand(data_dir)
    targets = _targets(list(dict.fromkeys(names or ())), data_dir, msmt_release)
    read_before: _DeepLooks = {}
    return CheckReport(
        tuple(
            _check_set(name, folder, msmt_release, workers if deep else 0, progress, read_before)
            for folder, name in targets
        ),
        tuple(obstacles(data_dir)),
    )


def _targets(names: list[str], data_dir: Path, release: str | None) -> list[tuple[Path, str]]:
    """Which set to check in which folder."""
    for name in names:
        set_kind(name)
    wanted = names or _UNASKED
    found = _present(wanted, [data_dir], release) or _present(wanted, standin_folders(data_dir), release)
    there = {name for _, name in found}
    for name in names:
        if name not in there and (error := absence(name, data_dir, release)):
            raise error
    if not found:
        blocked = obstacles(data_dir)
        why = f" ({brief(blocked)})" if blocked else ""
        raise UserError(
            f"No data set was found below {data_dir}{why}: place one there ({', '.join(NAMES)}), or give the directory"
            " that holds them as --data-dir or in the environment variable BENCH_DATA.\n"
            "  To see the benchmark run on stand-in data: `bench data standin --size demo`,"
            " then `bench run --preset demo`."
        )
    return found


def _present(names: Sequence[str], folders: Sequence[Path], release: str | None) -> list[tuple[Path, str]]:
    return [(folder, name) for folder in folders for name in names if absence(name, folder, release) is None]


def _check_set(
    name: str,
    data_dir: Path,
    release: str | None,
    deep_workers: int,
    progress: bool,
    read_before: _DeepLooks,
) -> SetReport:
    try:
        reading = read_set(name, data_dir, release)
    except UserError as error:
        return SetReport(name, data_dir, faults=(str(error),))
    has_test = set_kind(name).description.has_test
    published = PUBLISHED[name] if not reading.standin or reading.standin.size == "full" else None
    found = list(faults(reading, has_test))
    if name in SMALL_TEST_SETS:
        try:
            reading = with_splits(name, reading)
        except UserError as error:
            found.append(str(error))
    splits = _splits(reading, published, has_test)
    found += _miscounts(reading, splits, published)
    fingerprint, deep = set_fingerprint(reading), _DeepLook()
    if deep_workers:
        key = (reading.root, fingerprint)
        if key not in read_before:
            read_before[key] = _read_all(reading, deep_workers, progress)
        deep = read_before[key]
    return SetReport(
        name=name,
        data_dir=data_dir,
        title=reading.title,
        root=reading.root,
        standin=str(reading.standin or ""),
        splits=splits,
        fingerprint=fingerprint,
        deep_fingerprint=deep.fingerprint,
        faults=(*found, *deep.faults),
        notes=(*_notes(reading, published), *deep.notes),
    )


def _read_all(reading: Reading, workers: int, progress: bool) -> _DeepLook:
    # Late: only the deep check needs Pillow and tqdm.
    from bench.data.deep_check import read_images

    result = read_images(reading.root, reading.used, workers, progress)
    examples = [f"{reading.root / path} ({why})" for path, why in result.unreadable.items()]
    return _DeepLook(
        set_fingerprint(reading, result.digests),
        (f"{len(examples):,} images cannot be opened: {brief(examples)}",) if examples else (),
        tuple(f"{len(paths):,} images {remark}: {brief(paths)}" for remark, paths in result.remarks.items()),
    )


def _splits(reading: Reading, published: Published | None, has_test: bool) -> tuple[SplitReport, ...]:
    if reading.parts:
        return (*_parts(reading, published), *_first_test(reading, published))
    splits = {"train": reading.train, "query": reading.query, "gallery": reading.gallery}
    return tuple(
        SplitReport(split, _counts(entries, split == "gallery"), _cameras(entries), getattr(published, split, None))
        for split, entries in splits.items()
        if has_test or split == "train"
    )


def _parts(reading: Reading, published: Published | None) -> Iterable[SplitReport]:
    """The folders of a small set."""
    for part, entries in reading.parts.items():
        counts = _counts(entries, not reading.zero_is_person)
        yield SplitReport(f"{part}/", counts, _cameras(entries), published.parts[part] if published else None)


def _first_test(reading: Reading, published: Published | None) -> Iterable[SplitReport]:
    """The first of a small set's tests, whose sizes are those of all unless somebody's own splits differ."""
    for test in reading.splits[:1]:
        for split, positions in (("query", test.query), ("gallery", test.gallery)):
            entries = [getattr(reading, split)[position] for position in positions]
            counts = _counts(entries, not reading.zero_is_person)
            yield SplitReport(split, counts, _cameras(entries), getattr(published, split, None))


def _counts(entries: Sequence[Entry], zero_distracts: bool) -> Counts:
    persons = {entry.person for entry in entries}
    if zero_distracts:
        persons.discard(DISTRACTOR)
    return Counts(len(entries), len(persons))


def _cameras(entries: Sequence[Entry]) -> int:
    return len({entry.camera for entry in entries})


def _distractors(reading: Reading) -> int:
    return 0 if reading.zero_is_person else sum(entry.person == DISTRACTOR for entry in reading.gallery)


def _miscounts(reading: Reading, splits: Sequence[SplitReport], published: Published | None) -> list[str]:
    if published is None:
        return []
    found = [
        _difference(f"{report.split}: {what}", getattr(report.found, what), getattr(report.published, what))
        for report in splits
        if report.published
        for what in ("images", "persons")
    ]
    found.append(_difference("cameras", _cameras(reading.entries), published.cameras))
    found.append(_difference("distractors in the gallery", _distractors(reading), published.distractors))
    return [difference for difference in found if difference]


def _difference(what: str, found: int, published: int) -> str:
    if found == published:
        return ""
    word = "missing" if found < published else "too many"
    return f"{what}: {found:,} found, {published:,} published, {abs(found - published):,} {word}"


def _notes(reading: Reading, published: Published | None) -> list[str]:
    notes = []
    if distractors := _distractors(reading):
        notes.append(f"{distractors:,} of the gallery's images are distractors (person 0)")
    if reading.junk or (published and published.junk):
        usual = f" ({published.junk:,} published)" if published else ""
        notes.append(f"{reading.junk:,} junk images (person -1) left out{usual}")
    if reading.splits:
        count = len({test.number for test in reading.splits})
        ways = ", each both ways" if count < len(reading.splits) else ""
        notes.append(f"tested on {count} split{'s' * (count > 1)}{ways}: {reading.split_source}")
    if unused := _unused(reading):
        notes.append(f"{len(unused):,} images can be neither query nor gallery: {brief(unused)}")
    if reading.missing:
        notes.append(f"missing: {brief(reading.missing)}")
    if extra := _extra(reading):
        notes.append(f"{len(extra):,} images are in no list and not used: {brief(extra)}")
    if reading.ignored:
        notes.append(f"{len(reading.ignored):,} files or folders are no images: {brief(reading.ignored)}")
    if reading.others:
        notes.append(f"not taken, but there too: {brief([str(folder) for folder in reading.others])}")
    return notes


def _unused(reading: Reading) -> list[str]:
    """Images of a small set that no split may use."""
    of_sides = {entry.path for entry in reading.entries} if reading.parts else set()
    return [entry.path for entries in reading.parts.values() for entry in entries if entry.path not in of_sides]


def _extra(reading: Reading) -> list[str]:
    """Images on disk that no list names; sets without lists have none, as what is in the folder is the set."""
    if not reading.lists or reading.parts:
        return []
    used = reading.used
    return [path for path in reading.files if path not in used]


def render(report: CheckReport) -> str:
    """Return the report as text: a paragraph for each set and one closing line."""
    bad = sum(bool(checked.faults) for checked in report.sets)
    count = f"{len(report.sets)} set{'s' if len(report.sets) > 1 else ''} checked"
    closing = f"{count}: {f'{bad} not usable as published' if bad else 'all complete'}."
    beside = "\n".join(f"note: {obstacle}" for obstacle in report.obstacles)
    return "\n\n".join(filter(None, [*(_render_set(checked) for checked in report.sets), beside, closing]))


def _render_set(report: SetReport) -> str:
    lines = [f"{report.name}: {'NOT COMPLETE' if report.faults else 'complete'}"]
    if report.root:
        standin = f", {report.standin}" if report.standin else ""
        lines.append(f"  {report.title} in {report.root}{standin}")
        lines.append(f"  {'split':<9}{'images':>18}{report.who:>16}{'cameras':>9}")
        lines += [_render_split(split) for split in report.splits]
        lines.append(f"  fingerprint       {report.fingerprint}")
    else:
        lines.append(f"  looked in {report.data_dir}")
    if report.deep_fingerprint:
        lines.append(f"  deep fingerprint  {report.deep_fingerprint}")
    lines += [f"  fault: {fault}" for fault in report.faults]
    lines += [f"  note: {note}" for note in report.notes]
    return "\n".join(lines)


def _render_split(report: SplitReport) -> str:
    images, persons = f"{report.found.images:,}", f"{report.found.persons:,}"
    if report.published:
        images += f" of {report.published.images:,}"
        persons += f" of {report.published.persons:,}"
    return f"  {report.split:<9}{images:>18}{persons:>16}{report.cameras:>9}"
