"""The counts that the sets' authors, and the public toolkits that read them, give."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Counts:
    """Images and persons of one split; a distractor is an image, not a person."""

    images: int
    persons: int


@dataclass(frozen=True)
class Published:
    """One set. `distractors` are the gallery's images of person 0, `junk` those of person -1, which are dropped.

    For a small set `query` and `gallery` are those of one split, and `parts` has what its folders hold.
    """

    cameras: int
    train: Counts | None = None
    query: Counts | None = None
    gallery: Counts | None = None
    distractors: int = 0
    junk: int = 0
    parts: Mapping[str, Counts] = field(default_factory=dict)


PUBLISHED = {
    "market": Published(6, Counts(12_936, 751), Counts(3_368, 750), Counts(15_913, 750), distractors=2_798, junk=3_819),
    "cuhk03": Published(2, Counts(7_365, 767), Counts(1_400, 700), Counts(5_332, 700)),
    "cuhk03_labeled": Published(2, Counts(7_368, 767), Counts(1_400, 700), Counts(5_328, 700)),
    "msmt": Published(15, Counts(32_621, 1_041), Counts(11_659, 3_060), Counts(82_161, 3_060)),
    "msmt_all": Published(15, Counts(126_441, 4_101)),
    "randperson": Published(19, Counts(132_145, 8_000)),
    "market_all": Published(6, Counts(29_419, 1_501), junk=3_819),
    "cuhk03_all": Published(2, Counts(14_097, 1_467)),
    "cuhk02": Published(10, Counts(7_264, 1_816)),
    "cuhksysu": Published(1, Counts(34_574, 11_934)),
    "viper": Published(
        2,
        query=Counts(316, 316),
        gallery=Counts(316, 316),
        parts={"cam_a": Counts(632, 632), "cam_b": Counts(632, 632)},
    ),
    "prid": Published(
        2,
        query=Counts(100, 100),
        gallery=Counts(649, 649),
        parts={"cam_a": Counts(385, 385), "cam_b": Counts(749, 749)},
    ),
    "grid": Published(
        6,
        query=Counts(125, 125),
        gallery=Counts(900, 125),
        distractors=775,
        parts={"probe": Counts(250, 250), "gallery": Counts(1_025, 250)},
    ),
    "ilids": Published(2, query=Counts(60, 60), gallery=Counts(60, 60), parts={"Persons": Counts(476, 119)}),
}
