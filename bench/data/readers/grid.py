"""QMUL GRID (Loy et al., CVPR 2009): 250 pairs from an underground station and 775 strangers, person 0."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.data.filenames import GRID
from bench.data.listing import Place, choose, read_folders
from bench.data.reading import Reading, find_standin, without_distractors, without_junk
from bench.errors import UserError

TITLE = "QMUL GRID"
NAMES = ("underground_reid", "grid/underground_reid", "GRID", "QMUL-GRID", "qmul_grid/underground_reid")
PARTS = ("probe", "gallery")
PARTITIONS = "features_and_partitions.mat"
_VARIABLE = "trainIdxAll"
_PERSONS_FIELD = 2
"""In each partition, the persons that train are the third field."""


def find(data_dir: Path) -> Place:
    """Find the set below `data_dir`. Raises SetAbsent, or UserError if it is there in part."""
    return choose(data_dir, TITLE, NAMES, PARTS)


def read(data_dir: Path) -> Reading:
    """Read probe and gallery; cameras are in the names. Raises UserError."""
    place = find(data_dir)
    entries, listing = read_folders(GRID, place, PARTS)
    parts = {part: without_junk(found) for part, found in entries.items()}
    return Reading(
        title=TITLE,
        root=place.root,
        train=(),
        query=without_distractors(parts["probe"]),
        gallery=parts["gallery"],
        files=listing.files,
        broken=listing.broken,
        ignored=listing.ignored,
        others=place.others,
        parts=parts,
        standin=find_standin(place.root, data_dir),
    )


def own_partitions(root: Path) -> list[list[int]] | None:
    """The persons that train in each partition that comes with the set, None where the file is not there.

    Raises UserError for a file of another form.
    """
    path = root / PARTITIONS
    if not path.is_file():
        return None
    # Late: only here is MATLAB's format read.
    from scipy.io import loadmat

    try:
        return [_persons(cell) for cell in loadmat(path, variable_names=[_VARIABLE])[_VARIABLE].ravel()]
    except Exception as error:  # scipy raises many kinds on files of other formats and on damaged ones
        raise UserError(
            f"{path} is not GRID's file of partitions ({_VARIABLE}, cells of structures whose third field lists the"
            " persons that train): copy it again, or move it away to be tested on the splits that ship with the suite."
        ) from error


def _persons(cell: Any) -> list[int]:
    structure: Sequence[Any] = cell.ravel()[0]
    persons = structure[_PERSONS_FIELD].ravel().tolist()
    if not persons or any(person != int(person) for person in persons):
        raise ValueError(f"{persons!r} are no persons")
    return [int(person) for person in persons]
