"""PRID 2011, single-shot (Hirzer et al., SCIA 2011): 200 persons in both views, many more in one of them."""

from dataclasses import replace
from pathlib import Path

from bench.data.filenames import PRID
from bench.data.listing import Place, choose
from bench.data.readers.single_shot import read_two_views
from bench.data.reading import Reading

TITLE = "PRID 2011 (single-shot)"
NAMES = tuple(
    f"{parent}single_shot" for parent in ("prid_2011/", "prid2011/prid_2011/", "prid2011/", "prid/prid_2011/")
)
VIEWS = ("cam_a", "cam_b")
LAST_IN_BOTH = 200
"""Up to this number a person is the same in both views; beyond it the views count strangers, each from 201 on."""


def find(data_dir: Path) -> Place:
    """Find the set below `data_dir`. Raises SetAbsent, or UserError if it is there in part."""
    return choose(data_dir, TITLE, NAMES, VIEWS)


def read(data_dir: Path) -> Reading:
    """Read both views: the persons of both are looked for in view b, whose strangers distract. Raises UserError."""
    reading = read_two_views(PRID, TITLE, find(data_dir), data_dir, VIEWS)
    return replace(reading, query=tuple(entry for entry in reading.query if entry.person <= LAST_IN_BOTH))
