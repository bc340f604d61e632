"""RandPerson, the subset (Wang et al., ACM MM 2020): synthetic persons in one flat folder, for training only."""

import os
from pathlib import Path

from bench.data.filenames import RANDPERSON
from bench.data.listing import Place, absent, folders_below, is_image, read_folders
from bench.data.reading import Reading, find_standin, without_junk
from bench.errors import UserError

TITLE = "RandPerson"
SUBSET = "randperson_subset"
# Deepest first: a folder above the images may hold a picture of its own.
NAMES = (
    f"randperson/{SUBSET}",
    f"randperson/{SUBSET}/{SUBSET}",
    f"randperson/subset/{SUBSET}/{SUBSET}",
    f"randperson/subset/{SUBSET}",
    f"{SUBSET}/{SUBSET}",
    SUBSET,
    "randperson",
)


def find(data_dir: Path) -> Place:
    """Find the folder with the images below `data_dir`. Raises SetAbsent, or UserError if it is empty."""
    folders = folders_below(data_dir, sorted(NAMES, key=lambda name: -name.count("/")))
    filled = [folder for folder in folders if _holds_image(folder)]
    if filled:
        return Place(filled[0], others=tuple(filled[1:]))
    if inner := [folder for folder in folders if folder.name.lower() == SUBSET]:
        raise UserError(f"{inner[0]} holds no images: unpack {TITLE} again.")
    raise absent(data_dir, TITLE, NAMES, "its images", folders)


def _holds_image(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(is_image(entry.name) for entry in entries)
    except OSError:
        return False


def read(data_dir: Path) -> Reading:
    """Read the set: cameras are numbered through all scenes. Raises UserError."""
    place = find(data_dir)
    entries, listing = read_folders(RANDPERSON, place, ["."])
    return Reading(
        title=TITLE,
        root=place.root,
        train=without_junk(entries["."]),
        query=(),
        gallery=(),
        files=listing.files,
        broken=listing.broken,
        ignored=listing.ignored,
        others=place.others,
        standin=find_standin(place.root, data_dir),
    )
