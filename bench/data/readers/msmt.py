"""MSMT17 (Wei et al., CVPR 2018), V1 and V2 (faces masked): images in a folder per person, splits in lists."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from bench.data.filenames import MSMT
from bench.data.listing import (
    Place,
    SetAbsent,
    absent,
    folders_below,
    foreign_name,
    half_copied,
    is_file,
    is_folder,
    scan,
)
from bench.data.reading import JUNK, Entry, Reading, find_standin, without_junk
from bench.errors import UserError

TITLE = "MSMT17"
FOLDERS = ("MSMT17_V1", "MSMT17_V2", "msmt", "msmt17")
NAMES = (*FOLDERS, *(f"{parent}/{child}" for parent in FOLDERS[2:] for child in FOLDERS[:2]))
RELEASES = {"V1": ("train", "test"), "V2": ("mask_train_v2", "mask_test_v2")}
TRAIN_LISTS = ("list_train.txt", "list_val.txt")
QUERY_LIST = "list_query.txt"
GALLERY_LIST = "list_gallery.txt"
LISTS = (*TRAIN_LISTS, QUERY_LIST, GALLERY_LIST)
PERSON = re.compile(r"-?\d{1,9}", re.ASCII)
PARTIAL_MIRROR = " A partial mirror with 60,910 instead of 93,820 test images circulates."


@dataclass(frozen=True)
class _Candidate:
    root: Path
    release: str
    missing: tuple[str, ...]


def find(data_dir: Path, release: str | None = None) -> Place:
    """Find the set below `data_dir`; `release` is "V1", "V2" or None for the one that is there.

    Raises SetAbsent, or UserError if the set is there in part, or in both releases and none is chosen.
    """
    if release is not None and release.upper() not in RELEASES:
        raise UserError(f"--msmt-release {release}: there is no such release of MSMT17, give V1 or V2.")
    roots = folders_below(data_dir, NAMES)
    found = [candidate for root in roots for candidate in _candidates(root)]
    if release is not None:
        wanted = [candidate for candidate in found if candidate.release == release.upper()]
        if found and not wanted:
            there = found[0]
            raise SetAbsent(
                f"MSMT17 {release.upper()} is absent, {there.root} holds {there.release}: leave --msmt-release out to"
                f" use that, or place {release.upper()} in {data_dir / f'MSMT17_{release.upper()}'}."
            )
        found = wanted
    if len({candidate.release for candidate in found}) > 1:
        listed = " and ".join(f"{candidate.release} in {candidate.root}" for candidate in found)
        raise UserError(f"MSMT17 is there as {listed}, which give different numbers: choose with --msmt-release V1|V2.")
    if not found:
        if lists_only := [root for root in roots if any(is_file(root / name) for name in LISTS)]:
            folders = " or ".join(" and ".join(pair) for pair in RELEASES.values())
            raise half_copied(TITLE, lists_only[0], [f"image folders {folders}"])
        content = f"the lists {', '.join(LISTS)} and the folders train and test, or mask_train_v2 and mask_test_v2"
        raise absent(data_dir, TITLE, NAMES, content, roots, inside=is_file(data_dir / LISTS[0]))
    taken = min(found, key=lambda candidate: bool(candidate.missing))
    if taken.missing:
        raise half_copied(f"{TITLE} {taken.release}", taken.root, taken.missing)
    others = tuple(candidate.root for candidate in found if candidate is not taken)
    return Place(taken.root, taken.release, others)


def _candidates(root: Path) -> list[_Candidate]:
    """The releases whose image folders, at least one of them, lie in `root`: these tell V1 from V2, not its name."""
    absent_lists = [name for name in LISTS if not is_file(root / name)]
    return [
        _Candidate(root, release, (*(name for name in pair if not is_folder(root / name)), *absent_lists))
        for release, pair in RELEASES.items()
        if any(is_folder(root / name) for name in pair)
    ]


def read(data_dir: Path, release: str | None = None) -> Reading:
    """Read the set; training is the train and val lists. Test persons are shifted beyond the training persons.

    Raises UserError.
    """
    place = find(data_dir, release)
    train_folder, test_folder = RELEASES[place.release]
    lists = {name: _list_bytes(place.root / name) for name in LISTS}
    train = [entry for name in TRAIN_LISTS for entry in _entries(place.root, name, lists[name], train_folder)]
    # Both halves number their persons from 0.
    shift = max((entry.person for entry in train), default=-1) + 1
    query, gallery = (
        _shifted(_entries(place.root, name, lists[name], test_folder), shift) for name in (QUERY_LIST, GALLERY_LIST)
    )
    listings = {folder: scan(place.root / folder, depth=1) for folder in (train_folder, test_folder)}
    for folder, listing in listings.items():
        if not listing.files:
            raise UserError(f"{place.root / folder} holds no images: copy {TITLE} again.")
    files = {f"{folder}/{name}": size for folder, listing in listings.items() for name, size in listing.files.items()}
    return Reading(
        title=f"{TITLE} {place.release}",
        root=place.root,
        release=place.release,
        train=without_junk(train),
        query=without_junk(query),
        gallery=without_junk(gallery),
        files=files,
        lists=lists,
        missing=tuple(entry.path for entry in (*train, *query, *gallery) if entry.path not in files),
        # What the lists name and is a link to nothing, or a folder, is missing; the rest is of no use.
        ignored=tuple(
            f"{folder}/{name}" for folder, listing in listings.items() for name in (*listing.ignored, *listing.broken)
        ),
        others=place.others,
        missing_hint=PARTIAL_MIRROR,
        standin=find_standin(place.root, data_dir),
    )


def read_all(data_dir: Path, release: str | None = None) -> Reading:
    """Read the set with all its images for training. Raises UserError."""
    apart = read(data_dir, release)
    return replace(apart, train=tuple(sorted(apart.entries)), query=(), gallery=())


def _shifted(entries: Iterable[Entry], shift: int) -> list[Entry]:
    return [entry if entry.person < 0 else entry._replace(person=entry.person + shift) for entry in entries]


def _list_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): mend its permissions or copy it again.") from error


def _entries(root: Path, list_name: str, content: bytes, folder: str) -> list[Entry]:
    """Read the lines `<path below folder> <person>`; camera and person are in the base name too.

    Raises UserError, also where line and name disagree on the person; -1, which leaves an image out, is no person.
    """
    entries = []
    for number, line in enumerate(content.decode("utf-8-sig", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        *before, person = line.rsplit(maxsplit=1)
        if not before or not PERSON.fullmatch(person):
            raise UserError(
                f"{root / list_name}, line {number}: {line.strip()[:200]!r} is not `<path> <person>`."
                " Copy the list again."
            )
        listed = before[0].strip().replace("\\", "/").removeprefix("./")
        path = f"{folder}/{listed}"
        parsed = MSMT.parse(path.rpartition("/")[2])
        if parsed is None:
            raise foreign_name(MSMT, root / path)
        if int(person) not in (parsed.person, JUNK):
            raise UserError(
                f"{root / list_name}, line {number}: person {person} is given to {path}, whose name says person"
                f" {parsed.person}. Copy the list again."
            )
        entries.append(Entry(path, int(person), parsed.camera))
    return entries
