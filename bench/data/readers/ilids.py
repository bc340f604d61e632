"""i-LIDS (Zheng et al., BMVC 2009): some images of each person in one folder, whose cameras nobody noted."""

from pathlib import Path

from bench.data.filenames import ILIDS
from bench.data.listing import Place, choose, read_folders
from bench.data.reading import Reading, find_standin, without_junk

TITLE = "i-LIDS"
FOLDER = "Persons"
NAMES = ("i-LIDS_Pedestrian", "ilids/i-LIDS_Pedestrian", "i-LIDS/i-LIDS_Pedestrian", "ilids", "i-LIDS", "QMUL-iLIDS")
QUERY_CAMERA, GALLERY_CAMERA = 0, 1
"""By convention, so that the rule on the query's own camera leaves nothing out."""


def find(data_dir: Path) -> Place:
    """Find the set below `data_dir`. Raises SetAbsent."""
    return choose(data_dir, TITLE, NAMES, (FOLDER,))


def read(data_dir: Path) -> Reading:
    """Read the folder: any image may be query or gallery, as the splits say. Raises UserError."""
    place = find(data_dir)
    entries, listing = read_folders(ILIDS, place, (FOLDER,))
    images = without_junk(entries[FOLDER])
    return Reading(
        title=TITLE,
        root=place.root,
        train=(),
        query=tuple(entry._replace(camera=QUERY_CAMERA) for entry in images),
        gallery=tuple(entry._replace(camera=GALLERY_CAMERA) for entry in images),
        files=listing.files,
        broken=listing.broken,
        ignored=listing.ignored,
        others=place.others,
        parts={FOLDER: images},
        standin=find_standin(place.root, data_dir),
    )
