"""File names, folders and counts of the sets, as pure data: a plan says which image goes where before one is drawn."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from bench.data.standin import small_layouts
from bench.data.standin.cameras import Shot
from bench.data.standin.domains import DOMAINS
from bench.data.standin.planned import DISTRACTORS, FAILED, TEST, TRAIN, PlannedImage, SetPlan, cameras_of, spread

_DAYTIMES = ("morning", "noon", "afternoon")
_SCENE_OFFSETS = (0, 2, 4, 6, 8, 9, 10, 12, 13, 14, 15, 19)
"""First camera of each of RandPerson's 11 scenes, and the number of cameras."""


@dataclass(frozen=True)
class Counts:
    """How many images and persons one set (or one half of CUHK03-NP) has.

    `train` includes the `val` images that MSMT17 lists apart; `gallery` leaves out `distractors` (person 0) and
    `junk` (person -1).
    """

    train: int
    train_persons: int
    query: int = 0
    gallery: int = 0
    test_persons: int = 0
    distractors: int = 0
    junk: int = 0
    val: int = 0


@dataclass(frozen=True)
class SizeCounts:
    """The counts of the large sets at one size."""

    market: Counts
    detected: Counts
    labeled: Counts
    msmt: Counts
    randperson: Counts


SIZES: dict[str, SizeCounts] = {
    "tiny": SizeCounts(
        market=Counts(36, 6, 8, 24, 6, distractors=3, junk=3),
        detected=Counts(36, 6, 8, 24, 6),
        labeled=Counts(18, 6, 8, 18, 6),
        msmt=Counts(36, 6, 8, 24, 6, val=6),
        randperson=Counts(36, 6),
    ),
    "demo": SizeCounts(
        market=Counts(480, 60, 120, 1000, 100, distractors=60, junk=40),
        detected=Counts(480, 60, 130, 1000, 100),
        # A second crop of the same pictures is no new world: fewer of them keep the demonstration small.
        labeled=Counts(120, 60, 130, 500, 100),
        msmt=Counts(1200, 120, 120, 1020, 100, val=120),
        randperson=Counts(600, 60),
    ),
    "full": SizeCounts(
        market=Counts(12_936, 751, 3_368, 13_115, 750, distractors=2_798, junk=3_819),
        detected=Counts(7_365, 767, 1_400, 5_332, 700),
        labeled=Counts(7_368, 767, 1_400, 5_328, 700),
        msmt=Counts(32_621, 1_041, 11_659, 82_161, 3_060, val=2_373),
        randperson=Counts(132_145, 8_000),
    ),
}


class _Slot(NamedTuple):
    """One image of one person before it has a name. `person` and `image` count from 0 within the split."""

    split: int
    part: str
    person: int
    image: int
    camera: int


def _slots(domain: str, counts: Counts) -> Iterator[_Slot]:
    """Every image of a set. A person's queries are of different cameras, as in the real sets, and the gallery goes
    round the same cameras: two or more gallery images mean that each query has a match in another camera."""
    val = spread(counts.val, counts.train_persons)
    for person, many in enumerate(spread(counts.train, counts.train_persons)):
        seen_by = cameras_of(domain, TRAIN, person, 2)
        for image in range(many):
            part = "val" if image >= many - val[person] else "train"
            yield _Slot(TRAIN, part, person, image, seen_by[image % len(seen_by)])
    if counts.test_persons:
        per_query, per_gallery = (spread(total, counts.test_persons) for total in (counts.query, counts.gallery))
        for person, (queries, gallery) in enumerate(zip(per_query, per_gallery, strict=True)):
            seen_by = cameras_of(domain, TEST, person, queries)
            for image in range(queries + gallery):
                part, turn = ("query", image) if image < queries else ("gallery", image - queries)
                yield _Slot(TEST, part, person, image, seen_by[turn % len(seen_by)])
    for split, many in ((DISTRACTORS, counts.distractors), (FAILED, counts.junk)):
        for image in range(many):
            yield _Slot(split, "gallery", image, 0, image % DOMAINS[domain].cameras)


def _shot(domain: str, slot: _Slot, daytime: int = 1, crop: int = 0) -> Shot:
    return Shot(domain, slot.split, slot.person, slot.image, slot.camera, daytime, crop, slot.split == FAILED)


def _label(slot: _Slot) -> int:
    """The person in a file name of Market-1501 or CUHK03-NP: there, train and test share one range of numbers."""
    return {TRAIN: 2 * slot.person + 1, TEST: 2 * slot.person + 2, DISTRACTORS: 0, FAILED: -1}[slot.split]


_FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}


def _market(counts: SizeCounts) -> SetPlan:
    images = []
    for slot in _slots("market", counts.market):
        label = _label(slot)
        # Distractors and failed detections all share a number: there the running person number tells files apart.
        frame = 451 + 25 * (slot.image if label > 0 else slot.person)
        person = "-1" if label < 0 else f"{label:04d}"
        name = f"{person}_c{slot.camera + 1}s{slot.person % 6 + 1}_{frame:06d}_{slot.image % 4 + 1:02d}.jpg"
        images.append(PlannedImage(f"{_FOLDERS[slot.part]}/{name}", label, slot.part, _shot("market", slot)))
    return SetPlan("Market-1501-v15.09.15", tuple(images), (), (".",))


def _cuhk03(counts: SizeCounts) -> SetPlan:
    images = []
    for crop, (half, numbers) in enumerate((("detected", counts.detected), ("labeled", counts.labeled))):
        for slot in _slots("cuhk03", numbers):
            label = _label(slot)
            name = f"{label:04d}_c{slot.camera + 1}_{slot.image + 1}.png"
            path = f"{half}/{_FOLDERS[slot.part]}/{name}"
            images.append(PlannedImage(path, label, slot.part, _shot("cuhk03", slot, crop=crop)))
    return SetPlan("cuhk03-np", tuple(images), (), (".", "detected", "labeled"))


def _msmt(counts: SizeCounts) -> SetPlan:
    images, lists = [], {part: [] for part in ("train", "val", "query", "gallery")}
    for slot in _slots("msmt", counts.msmt):
        daytime = (slot.person + slot.camera + slot.image // 4) % 3
        date = f"03{1 + (slot.person * 7 + slot.camera) % 28:02d}{_DAYTIMES[daytime]}"
        extra = "_ex" if (slot.person + slot.image) % 50 == 49 else ""
        name = (
            f"{slot.person:04d}_{slot.image:03d}_{slot.camera + 1:02d}_{date}_"
            f"{8 + 7 * slot.image:04d}_{slot.image % 3}{extra}.jpg"
        )
        path = f"{slot.person:04d}/{name}"
        lists[slot.part].append(f"{path} {slot.person}\n")
        folder = "train" if slot.split == TRAIN else "test"
        images.append(PlannedImage(f"{folder}/{path}", slot.person, slot.part, _shot("msmt", slot, daytime)))
    files = tuple((f"list_{part}.txt", "".join(lines).encode()) for part, lines in lists.items())
    return SetPlan("MSMT17_V1", tuple(images), files, (".",))


def _randperson(counts: SizeCounts) -> SetPlan:
    images = []
    for slot in _slots("randperson", counts.randperson):
        scene = max(s for s, first in enumerate(_SCENE_OFFSETS[:-1]) if first <= slot.camera)
        camera = slot.camera - _SCENE_OFFSETS[scene]
        name = f"{slot.person:06d}_s{scene:02d}_c{camera:02d}_f{264 + 30 * slot.image:06d}.jpg"
        images.append(PlannedImage(f"randperson_subset/{name}", slot.person, slot.part, _shot("randperson", slot)))
    return SetPlan("randperson", tuple(images), (), (".",))


_PLANS = {"market": _market, "cuhk03": _cuhk03, "msmt": _msmt, "randperson": _randperson}
SETS: tuple[str, ...] = (*_PLANS, *small_layouts.PLANS)


def plan(name: str, size: str) -> SetPlan:
    """What is to be written for the set `name` (one of SETS) at `size` (one of SIZES); KeyError for others."""
    return _PLANS[name](SIZES[size]) if name in _PLANS else small_layouts.PLANS[name](size)
