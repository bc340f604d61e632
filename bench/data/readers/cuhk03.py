"""CUHK03 (Li et al., CVPR 2014) with the new protocol (Zhong et al., CVPR 2017), detected or labeled boxes.

Read from CUHK03-NP's folders or from what torchreid makes of the original file.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.data.filenames import CUHK03, TORCHREID_CUHK03
from bench.data.listing import (
    Place,
    SetAbsent,
    absent,
    choose,
    folders_below,
    half_copied,
    is_file,
    is_folder,
    parse,
    scan,
)
from bench.data.readers.market import PARTS, read_three_folders
from bench.data.reading import Entry, Reading, find_standin, without_junk
from bench.errors import UserError

PARENTS = ("cuhk03-np", "cuhk03_np", "cuhk03")
TORCHREID_FOLDER = "cuhk03"
SPLITS = ("train", "query", "gallery")


class TorchreidPlace(NamedTuple):
    """A folder in torchreid's form: the splits file's name and the images' folder."""

    root: Path
    splits: str
    images: str


class _Listed(NamedTuple):
    """One image of a splits file: base name, person as numbered there, camera from 0."""

    name: str
    person: int
    camera: int


def find(data_dir: Path, boxes: str) -> Place | TorchreidPlace:
    """Find the set with `boxes` "detected" or "labeled" below `data_dir`.

    CUHK03-NP's folders go before torchreid's form. Raises SetAbsent, or UserError if it is there in part or still
    has to be converted.
    """
    names = [f"{parent}/{boxes}" for parent in PARENTS] + [f"cuhk03_np_{boxes}", f"cuhk03-np-{boxes}"]
    try:
        return choose(data_dir, _title(boxes), names, PARTS)
    except SetAbsent:
        for root in folders_below(data_dir, [TORCHREID_FOLDER]):
            if place := _torchreid(root, boxes):
                return place
        content = f"the folders {', '.join(PARTS)} (and {TORCHREID_FOLDER} has no splits_new_{boxes}.json)"
        raise absent(data_dir, _title(boxes), names, content, folders_below(data_dir, names)) from None


def _title(boxes: str) -> str:
    return f"CUHK03-NP ({boxes})"


def _torchreid(root: Path, boxes: str) -> TorchreidPlace | None:
    place = TorchreidPlace(root, f"splits_new_{boxes}.json", f"images_{boxes}")
    there = {place.splits: is_file(root / place.splits), place.images: is_folder(root / place.images)}
    if all(there.values()):
        return place
    if there[place.splits]:
        raise half_copied(_title(boxes), root, [place.images])
    if there[place.images] or is_file(root / "cuhk-03.mat") or is_folder(root / "cuhk03_release"):
        raise UserError(
            f"{root} holds CUHK03 in its original form, or torchreid's without {place.splits}, which says what is"
            f" train, query and gallery. Either place CUHK03-NP in {root.parent / 'cuhk03-np' / boxes}"
            f" ({', '.join(PARTS)}), or convert: put cuhk-03.mat into {root / 'cuhk03_release'} and"
            f" cuhk03_new_protocol_config_detected.mat and cuhk03_new_protocol_config_labeled.mat into {root},"
            f" then run once in Python, with torchreid installed:"
            f" from torchreid.data.datasets.image.cuhk03 import CUHK03; CUHK03(root={str(root.parent)!r})"
        )
    return None


def read(data_dir: Path, boxes: str) -> Reading:
    """Read the set with `boxes` "detected" or "labeled". Raises UserError."""
    place = find(data_dir, boxes)
    if isinstance(place, TorchreidPlace):
        return _read_torchreid(place, _title(boxes), data_dir)
    return read_three_folders(CUHK03, _title(boxes), place, data_dir)


def _read_torchreid(place: TorchreidPlace, title: str, data_dir: Path) -> Reading:
    """Take from the splits file only which image is in which split.

    Its paths are absolute ones of another machine and its training persons are labels that collide with the test
    persons; the base names have both right. Where it contradicts them, UserError is raised.
    """
    listed = {split: _listed(place, split) for split in SPLITS}
    splits = {split: [image.name for image in images] for split, images in listed.items()}
    entries = {split: _entries(place, names) for split, names in splits.items()}
    for half in (("train",), ("query", "gallery")):
        _check_against_names(
            place,
            [image for split in half for image in listed[split]],
            [entry for split in half for entry in entries[split]],
        )
    listing = scan(place.root / place.images)
    files = {f"{place.images}/{name}": size for name, size in listing.files.items()}
    return Reading(
        title=title,
        root=place.root,
        train=without_junk(entries["train"]),
        query=without_junk(entries["query"]),
        gallery=without_junk(entries["gallery"]),
        files=files,
        # The file's own bytes differ from machine to machine by the paths in it.
        lists={place.splits: json.dumps({split: sorted(names) for split, names in splits.items()}).encode()},
        missing=tuple(entry.path for split in SPLITS for entry in entries[split] if entry.path not in files),
        ignored=tuple(f"{place.images}/{name}" for name in (*listing.ignored, *listing.broken)),
        standin=find_standin(place.root, data_dir),
    )


def _entries(place: TorchreidPlace, names: list[str]) -> list[Entry]:
    return parse(TORCHREID_CUHK03, place.root, [f"{place.images}/{name}" for name in names])


def _listed(place: TorchreidPlace, split: str) -> list[_Listed]:
    path = place.root / place.splits
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        # Both separators: the paths may come from Windows.
        return [
            _Listed(image.replace("\\", "/").rpartition("/")[2], int(person), int(camera))
            for image, person, camera in content[0][split]
        ]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} is not torchreid's splits file (a list with one object of train, query and gallery, each a list"
            " of [path, person, camera]): delete it and let torchreid write it again."
        ) from error


def _check_against_names(place: TorchreidPlace, images: Sequence[_Listed], entries: Sequence[Entry]) -> None:
    """Cameras are those of the names; persons are numbered anew, but no two alike and none twice."""
    label_of: dict[int, int] = {}
    person_of: dict[int, int] = {}
    for image, entry in zip(images, entries, strict=True):
        same_label = label_of.setdefault(entry.person, image.person) == image.person
        same_person = person_of.setdefault(image.person, entry.person) == entry.person
        if not (same_label and same_person and image.camera == entry.camera):
            raise UserError(
                f"{place.root / place.splits} gives person {image.person} and camera {image.camera} to {image.name},"
                " which contradicts its name or what is said of other images: delete the file and let torchreid write"
                " it again."
            )
