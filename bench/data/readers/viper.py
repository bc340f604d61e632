"""VIPeR (Gray and Tao, ECCV 2008): one image of each person from each of two views, for testing both ways."""

from pathlib import Path

from bench.data.filenames import VIPER
from bench.data.listing import Place, choose
from bench.data.readers.single_shot import read_two_views
from bench.data.reading import Reading

TITLE = "VIPeR"
NAMES = ("VIPeR", "viper/VIPeR", "VIPeR.v1.0", "viper/VIPeR.v1.0")
VIEWS = ("cam_a", "cam_b")
_GAPS = (
    (247, 299), (349, 349), (352, 352), (356, 356), (363, 363), (396, 499), (530, 530), (559, 559), (586, 586),
    (602, 602), (644, 644), (663, 663), (665, 665), (668, 668), (681, 681), (688, 688), (691, 691), (694, 695),
    (704, 704), (710, 710), (712, 712), (718, 719), (727, 727), (730, 730), (739, 739), (742, 799), (810, 810),
    (857, 857),
)  # fmt: skip
"""Numbers, first and last, that no person has."""
PERSONS = tuple(number for number in range(874) if not any(first <= number <= last for first, last in _GAPS))
"""The 632 persons of the published set."""


def find(data_dir: Path) -> Place:
    """Find the set below `data_dir`. Raises SetAbsent, or UserError if it is there in part."""
    return choose(data_dir, TITLE, NAMES, VIEWS)


def read(data_dir: Path) -> Reading:
    """Read both views; a person's number is the same in both, the angle behind it is not. Raises UserError."""
    return read_two_views(VIPER, TITLE, find(data_dir), data_dir, VIEWS, zero_is_person=True)
