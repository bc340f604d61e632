"""CUHK02 (Li and Wang, CVPR 2013): five pairs of cameras, two images of a person from each, all for training."""

from pathlib import Path

from bench.data.filenames import CUHK02
from bench.data.listing import Place, choose, read_folders
from bench.data.reading import Reading, find_standin, without_junk

TITLE = "CUHK02"
NAMES = ("cuhk02/Dataset", "cuhk02")
VIEWS = tuple(f"P{pair}/cam{camera}" for pair in range(1, 6) for camera in (1, 2))
"""In the order of the cameras' numbers."""
PERSONS_PER_PAIR = 1000
"""Persons are numbered anew, in three digits, in each pair of cameras."""


def find(data_dir: Path) -> Place:
    """Find the set below `data_dir`. Raises SetAbsent, or UserError if it is there in part."""
    return choose(data_dir, TITLE, NAMES, VIEWS)


def read(data_dir: Path) -> Reading:
    """Read all ten views; person 7 of pair 2 is 2007, cameras count through the pairs. Raises UserError."""
    place = find(data_dir)
    entries, listing = read_folders(CUHK02, place, VIEWS)
    train = [
        entry._replace(person=(camera // 2 + 1) * PERSONS_PER_PAIR + entry.person, camera=camera)
        for camera, view in enumerate(VIEWS)
        for entry in entries[view]
    ]
    return Reading(
        title=TITLE,
        root=place.root,
        train=without_junk(train),
        query=(),
        gallery=(),
        files=listing.files,
        broken=listing.broken,
        ignored=listing.ignored,
        others=place.others,
        standin=find_standin(place.root, data_dir),
    )
