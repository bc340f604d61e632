"""Crops of CUHK-SYSU (Xiao et al., CVPR 2017): persons cut from scenes, no cameras known, all for training."""

from pathlib import Path

from bench.data.filenames import CUHKSYSU
from bench.data.listing import Place, choose, read_folders
from bench.data.reading import Reading, find_standin, without_junk

TITLE = "CUHK-SYSU (crops)"
NAMES = ("cuhksysu", "CUHK-SYSU", "cuhk_sysu")
FOLDER = "cropped_images"


def find(data_dir: Path) -> Place:
    """Find the set below `data_dir`. Raises SetAbsent."""
    return choose(data_dir, TITLE, NAMES, (FOLDER,))


def read(data_dir: Path) -> Reading:
    """Read the folder of crops; all images count as camera 0. Raises UserError."""
    place = find(data_dir)
    entries, listing = read_folders(CUHKSYSU, place, (FOLDER,))
    return Reading(
        title=TITLE,
        root=place.root,
        train=without_junk(entries[FOLDER]),
        query=(),
        gallery=(),
        files=listing.files,
        broken=listing.broken,
        ignored=listing.ignored,
        others=place.others,
        standin=find_standin(place.root, data_dir),
    )
