"""The counts that the sets' authors, and the public toolkits that read them, give."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """Images and persons of one split; a distractor is an image, not a person."""

    images: int
    persons: int


@dataclass(frozen=True)
class Published:
    """One set. `distractors` are the gallery's images of person 0, `junk` those of person -1, which are dropped."""

    cameras: int
    train: Counts
    query: Counts | None = None
    gallery: Counts | None = None
    distractors: int = 0
    junk: int = 0


PUBLISHED = {
    "market": Published(6, Counts(12_936, 751), Counts(3_368, 750), Counts(15_913, 750), distractors=2_798, junk=3_819),
    "cuhk03": Published(2, Counts(7_365, 767), Counts(1_400, 700), Counts(5_332, 700)),
    "cuhk03_labeled": Published(2, Counts(7_368, 767), Counts(1_400, 700), Counts(5_328, 700)),
    "msmt": Published(15, Counts(32_621, 1_041), Counts(11_659, 3_060), Counts(82_161, 3_060)),
    "msmt_all": Published(15, Counts(126_441, 4_101)),
    "randperson": Published(19, Counts(132_145, 8_000)),
}
