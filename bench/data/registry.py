"""The sets by name: how each is found and read, and what to say of it."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench.config import SMALL_TEST_SETS
from bench.data.dataset import Dataset
from bench.data.listing import SetAbsent
from bench.data.readers import cuhk02, cuhk03, cuhksysu, grid, ilids, market, msmt, prid, randperson, viper
from bench.data.reading import Reading, all_images, to_dataset
from bench.data.splits import with_splits
from bench.errors import UserError
from bench.system.paths import expand


class Description(NamedTuple):
    """One line on a set, whether it has a test split (query and gallery), and whether it is trained on."""

    text: str
    has_test: bool
    has_training: bool = True

    def __str__(self) -> str:
        if self.has_test and self.has_training:
            return self.text
        return f"{self.text} ({'training' if self.has_training else 'testing'} only)"


@dataclass(frozen=True)
class SetKind:
    """How to find (`locate` raises SetAbsent or UserError) and read a set; both take data_dir and MSMT release."""

    description: Description
    locate: Callable[[Path, str | None], object]
    read: Callable[[Path, str | None], Reading]


SETS = {
    "market": SetKind(
        Description("Market-1501: 1,501 persons, 6 cameras", True),
        lambda data_dir, _release: market.find(data_dir),
        lambda data_dir, _release: market.read(data_dir),
    ),
    "cuhk03": SetKind(
        Description("CUHK03-NP, detected boxes: 1,467 persons, 2 cameras", True),
        lambda data_dir, _release: cuhk03.find(data_dir, "detected"),
        lambda data_dir, _release: cuhk03.read(data_dir, "detected"),
    ),
    "cuhk03_labeled": SetKind(
        Description("CUHK03-NP, hand-drawn boxes: 1,467 persons, 2 cameras", True),
        lambda data_dir, _release: cuhk03.find(data_dir, "labeled"),
        lambda data_dir, _release: cuhk03.read(data_dir, "labeled"),
    ),
    "msmt": SetKind(Description("MSMT17, V1 or V2: 4,101 persons, 15 cameras", True), msmt.find, msmt.read),
    "msmt_all": SetKind(
        Description("MSMT17, all images together: 4,101 persons, 15 cameras", False),
        msmt.find,
        msmt.read_all,
    ),
    "randperson": SetKind(
        Description("RandPerson, subset, synthetic: 8,000 persons, 19 cameras", False),
        lambda data_dir, _release: randperson.find(data_dir),
        lambda data_dir, _release: randperson.read(data_dir),
    ),
    "market_all": SetKind(
        Description("Market-1501, all images together: 1,501 persons, 6 cameras", False),
        lambda data_dir, _release: market.find(data_dir),
        lambda data_dir, _release: all_images(market.read(data_dir)),
    ),
    "cuhk03_all": SetKind(
        Description("CUHK03-NP, detected boxes, all images together: 1,467 persons, 2 cameras", False),
        lambda data_dir, _release: cuhk03.find(data_dir, "detected"),
        lambda data_dir, _release: all_images(cuhk03.read(data_dir, "detected")),
    ),
    "cuhk02": SetKind(
        Description("CUHK02: 1,816 persons, 10 cameras", False),
        lambda data_dir, _release: cuhk02.find(data_dir),
        lambda data_dir, _release: cuhk02.read(data_dir),
    ),
    "cuhksysu": SetKind(
        Description("CUHK-SYSU, crops: 11,934 persons, cameras unknown", False),
        lambda data_dir, _release: cuhksysu.find(data_dir),
        lambda data_dir, _release: cuhksysu.read(data_dir),
    ),
    "viper": SetKind(
        Description("VIPeR: 632 persons, 2 cameras; 10 splits of 316 / 316, both ways", True, False),
        lambda data_dir, _release: viper.find(data_dir),
        lambda data_dir, _release: viper.read(data_dir),
    ),
    "prid": SetKind(
        Description("PRID 2011, single-shot: 934 persons, 2 cameras; 10 splits of 100 / 649", True, False),
        lambda data_dir, _release: prid.find(data_dir),
        lambda data_dir, _release: prid.read(data_dir),
    ),
    "grid": SetKind(
        Description("QMUL GRID: 250 persons and 775 strangers, 6 cameras; 10 splits of 125 / 900", True, False),
        lambda data_dir, _release: grid.find(data_dir),
        lambda data_dir, _release: grid.read(data_dir),
    ),
    "ilids": SetKind(
        Description("i-LIDS: 119 persons, cameras unknown; 10 splits of 60 / 60", True, False),
        lambda data_dir, _release: ilids.find(data_dir),
        lambda data_dir, _release: ilids.read(data_dir),
    ),
}
NAMES = tuple(SETS)

ALL = "_all"
"""Behind a set's name: all its images."""
JOIN = "+"
"""Between the sets of a source."""


def set_kind(name: str) -> SetKind:
    """Return the set called `name`. Raises UserError with the valid names and the nearest one."""
    if name in SETS:
        return SETS[name]
    near = difflib.get_close_matches(name.lower().replace("-", "_"), NAMES, n=1, cutoff=0.5)
    meant = f" Did you mean {near[0]}?" if near else ""
    raise UserError(f"There is no data set {name!r}: the names are {', '.join(NAMES)}.{meant}")


def read_set(name: str, data_dir: Path, msmt_release: str | None = None) -> Reading:
    """Read the set `name`, faults of its content included. Raises UserError where it cannot be read at all."""
    try:
        return set_kind(name).read(data_dir, msmt_release)
    except OSError as error:
        raise UserError(f"{name} below {data_dir} cannot be read ({error}): mend the permissions.") from error


def absence(name: str, data_dir: Path, msmt_release: str | None = None) -> SetAbsent | None:
    """Return the error that says that nothing of the set `name` is below `data_dir`, or None if something is."""
    try:
        set_kind(name).locate(data_dir, msmt_release)
    except SetAbsent as error:
        return error
    except (UserError, OSError):
        pass  # There, but not as it should be: reading it will tell.
    return None


def describe() -> dict[str, Description]:
    """Return one line on each set, by name."""
    return {name: kind.description for name, kind in SETS.items()}


def load_dataset(
    name: str, data_dir: str | Path, msmt_release: str | None = None, splits: Sequence[Path] = ()
) -> Dataset:
    """Read the set `name` (one of `NAMES`) from under any of its usual folder names below `data_dir`.

    `msmt_release` ("V1" or "V2") chooses between the two where both are there. Persons are the set's own numbers,
    except that MSMT17's test persons are shifted beyond its training persons; cameras count from 0. Each split is
    sorted by path. Images are not opened. Small sets come with the splits of the file in `splits` that names them, or
    as `with_splits` says.

    Raises UserError if the name is unknown, the set is absent, incomplete or unusable, or its splits do not fit it.
    """
    reading = read_set(name, expand(data_dir), msmt_release)
    if name in SMALL_TEST_SETS:
        reading = with_splits(name, reading, [expand(path) for path in splits])
    return to_dataset(name, reading, set_kind(name).description.has_test)
