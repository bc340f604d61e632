"""Market-1501 (Zheng et al., ICCV 2015): three flat folders; person 0 is a distractor, person -1 junk."""

from pathlib import Path

from bench.data.filenames import MARKET, NameForm
from bench.data.listing import Place, choose, read_folders
from bench.data.reading import Reading, find_standin, without_distractors, without_junk

TITLE = "Market-1501"
FOLDERS = ("market", "market1501", "market-1501", "Market-1501-v15.09.15")
NAMES = (*FOLDERS, "market1501/Market-1501-v15.09.15", "market/Market-1501-v15.09.15")
PARTS = ("bounding_box_train", "query", "bounding_box_test")


def find(data_dir: Path) -> Place:
    """Find the set below `data_dir`. Raises SetAbsent, or UserError if it is there in part."""
    return choose(data_dir, TITLE, NAMES, PARTS)


def read(data_dir: Path) -> Reading:
    """Read the set's three folders. Raises UserError, also where a name is another set's."""
    return read_three_folders(MARKET, TITLE, find(data_dir), data_dir)


def read_three_folders(form: NameForm, title: str, place: Place, data_dir: Path) -> Reading:
    """Read `bounding_box_train`, `query` and `bounding_box_test` (the gallery) of a set in Market-1501's layout."""
    entries, listing = read_folders(form, place, PARTS)
    train, query, gallery = (entries[part] for part in PARTS)
    return Reading(
        title=title,
        root=place.root,
        train=without_distractors(train),
        query=without_distractors(query),
        gallery=without_junk(gallery),
        files=listing.files,
        broken=listing.broken,
        ignored=listing.ignored,
        others=place.others,
        junk=sum(entry.person < 0 for part in entries.values() for entry in part),
        standin=find_standin(place.root, data_dir),
    )
