"""What VIPeR and PRID have in common: two folders, one a view, with one image of each person."""

from collections.abc import Sequence
from pathlib import Path

from bench.data.filenames import NameForm
from bench.data.listing import Place, read_folders
from bench.data.reading import Reading, find_standin, without_junk


def read_two_views(
    form: NameForm, title: str, place: Place, data_dir: Path, views: Sequence[str], zero_is_person: bool = False
) -> Reading:
    """Read two folders of a set: the first is the query side and camera 0, the second the gallery side and camera 1."""
    entries, listing = read_folders(form, place, views)
    query, gallery = (
        without_junk(entry._replace(camera=camera) for entry in entries[view]) for camera, view in enumerate(views)
    )
    return Reading(
        title=title,
        root=place.root,
        train=(),
        query=query,
        gallery=gallery,
        files=listing.files,
        broken=listing.broken,
        ignored=listing.ignored,
        others=place.others,
        parts=dict(zip(views, (query, gallery), strict=True)),
        zero_is_person=zero_is_person,
        standin=find_standin(place.root, data_dir),
    )
