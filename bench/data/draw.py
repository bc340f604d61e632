"""Random splits of the small sets. Those that ship with the suite were drawn here once and are never drawn again.

Only PCG64's raw numbers are used, which numpy keeps the same in all versions, and the order that sorting gives them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from bench.data.readers import viper
from bench.data.reading import Reading
from bench.data.splits import BY_IMAGES, ImageSplit, ImageSplits, PersonSplit, PersonSplits, Splits

Item = TypeVar("Item")

COUNT = 10
SHIPPED_SEEDS = {"viper": 1, "prid": 2, "grid": 3, "ilids": 4}
_MOST_IMAGES = 8
"""i-LIDS has 2 to 8 images of a person; which person has how many is nowhere written."""


def draw(name: str, images: Mapping[int, Sequence[str]], seed: int, count: int = COUNT, title: str = "") -> Splits:
    """`count` splits of the set `name`: half of the persons are tested, rounded up, the others train.

    `images` has the persons that can be tested and, where splits are by images, the names of theirs, which are put in
    random order.
    """
    source = np.random.PCG64(seed)
    people = sorted(images)
    head = {"set": name, "name": title, "generator": f"numpy PCG64, seed {seed}"}
    parted = []
    for _ in range(count):
        order = _shuffled(source, people)
        half = (len(people) + 1) // 2
        parted.append((sorted(order[half:]), sorted(order[:half])))
    if name not in BY_IMAGES:
        return PersonSplits(**head, splits=[PersonSplit(train=train, test=test) for train, test in parted])
    return ImageSplits(
        **head,
        splits=[
            ImageSplit(train=train, test=[_shuffled(source, sorted(images[person])) for person in test])
            for train, test in parted
        ],
    )


def draw_for(name: str, reading: Reading, seed: int, count: int = COUNT) -> Splits:
    """`count` splits of a set as it was read."""
    known = {entry.person for entry in reading.query} & {entry.person for entry in reading.gallery}
    images: dict[int, list[str]] = {person: [] for person in known}
    for entry in reading.query:
        if entry.person in known:
            images[entry.person].append(entry.path.rpartition("/")[2])
    if name in BY_IMAGES:
        images = {person: names for person, names in images.items() if len(names) > 1}
    return draw(name, images, seed, count, f"{name}, seed {seed}")


def draw_shipped(name: str) -> Splits:
    """The splits of a set that ship with the suite, drawn again, to the last digit."""
    people = {"viper": viper.PERSONS, "prid": range(1, 201), "grid": range(1, 251), "ilids": range(1, 120)}[name]
    images = {
        person: [f"{person:04d}{image:03d}.jpg" for image in range(1, _MOST_IMAGES + 1)] if name in BY_IMAGES else []
        for person in people
    }
    return draw(name, images, SHIPPED_SEEDS[name], title=f"{name}-1")


def _shuffled(source: np.random.PCG64, items: Sequence[Item]) -> list[Item]:
    return [items[place] for place in np.argsort(source.random_raw(len(items)), kind="stable")]
