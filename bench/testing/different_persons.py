"""How high pairs of different persons score: what tells whether a score means anything."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.config import CellConfig
from bench.data import Dataset
from bench.data.tensors import Images
from bench.errors import UserError
from bench.network.matcher import Matcher
from bench.randomness import Stream, generator
from bench.testing.blocks import score_all
from bench.testing.example_pairs import gallery_positions


def scores_of_different_persons(
    model: Matcher, dataset: Dataset, images: Images, config: CellConfig, sample: int, seed: int
) -> NDArray[np.float32]:
    """[n] scores of all pairs of different persons between `sample` queries and `sample` gallery images at random.

    `images` [n, 3, H, W] are those of the test, as `load_images` gives them; where a side has fewer than `sample`, all
    are taken. Raises UserError where these show one person alone.
    """
    draws = generator(seed, Stream.DIFFERENT_PERSONS)
    query, gallery = (
        np.sort(draws.permutation(len(side))[:sample]).astype(np.int64) for side in (dataset.query, dataset.gallery)
    )
    different = np.not_equal.outer(
        [dataset.query[at].person for at in query], [dataset.gallery[at].person for at in gallery]
    )
    if not different.any():
        raise UserError(f"no pairs of different persons among {sample} images a side of {dataset.name}; ask for more")
    settings = config.evaluation
    ours = model.encode_all(images, np.asarray(dataset.sides[0])[query], settings.batch, settings.scoring)
    theirs = model.encode_all(images, gallery_positions(dataset, gallery), settings.batch, settings.scoring)
    budget = int(settings.memory_gib * 2**30) // 4
    return score_all(model.head, ours, theirs, budget, scoring=settings.scoring).numpy()[different]
