"""Training persons kept from training, to choose options on without a look at any test set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bench.config import HELD_OUT, digest
from bench.data.dataset import Dataset, has_match
from bench.errors import UserError
from bench.randomness import Stream, generator


def held_out_positions(dataset: Dataset, persons: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions among the training images: of those to train on, and of those of the `persons` held out.

    The persons are drawn once for a training set, the same for all seeds. Raises UserError if fewer than two persons
    would be left on either side.
    """
    ids = np.array([record.person for record in dataset.train])
    people = np.unique(ids)
    if not 2 <= persons <= len(people) - 2:
        raise UserError(
            f"training.held_out_persons={persons}: {dataset.name} has {len(people)} training persons, and two must be "
            "left to train on, two to test on"
        )
    chosen = generator(0, Stream.HELD_OUT, len(people)).permutation(people)[:persons]
    apart = np.isin(ids, chosen)
    return np.flatnonzero(~apart), np.flatnonzero(apart)


def held_out_set(dataset: Dataset, persons: int) -> tuple[Dataset, NDArray[np.int64]]:
    """The held-out persons as a test set, and where its images, queries first, lie among the training images.

    The first image of each person in each camera is a query, all others are the gallery. Raises UserError as
    `held_out_positions`, and where no person has a gallery image of another camera.
    """
    _, positions = held_out_positions(dataset, persons)
    records = [dataset.train[at] for at in positions]
    first: dict[tuple[int, int], int] = {}
    for at, record in enumerate(records):
        first.setdefault((record.person, record.camera), at)
    queries = sorted(first.values())
    gallery = sorted(set(range(len(records))).difference(queries))
    if not has_match([records[at] for at in queries], [records[at] for at in gallery]):
        raise UserError(
            f"training.held_out_persons={persons}: none of these persons of {dataset.name} has an image that is "
            "no query in another camera than a query's; no test can be made of them"
        )
    test = replace(
        dataset,
        name=HELD_OUT,
        train=(),
        query=tuple(records[at] for at in queries),
        gallery=tuple(records[at] for at in gallery),
        fingerprint=digest([HELD_OUT, dataset.fingerprint, persons]),
        parts=(),
        shares_images=False,
    )
    return test, positions[[*queries, *gallery]]
