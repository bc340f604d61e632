"""Pairs of a test set that are worth looking at: a query with a right image, and with a wrong one that scores high."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.config import CellConfig
from bench.data import Dataset
from bench.data.dataset import may_match
from bench.data.tensors import Images
from bench.errors import UserError
from bench.network.matcher import Matcher
from bench.randomness import Stream, generator
from bench.testing.blocks import score_all

GALLERY_SAMPLE = 500
"""Gallery images among which the hardest wrong one is looked for."""


@dataclass(frozen=True, eq=False)
class ExamplePairs:
    """Positions [n] in the lists of a data set: n queries, for each a right gallery image and a wrong one."""

    query: NDArray[np.int64]
    right: NDArray[np.int64]
    wrong: NDArray[np.int64]
    sampled: int
    """Gallery images that were scored to find the wrong ones."""


def example_pairs(
    model: Matcher, dataset: Dataset, images: Images, config: CellConfig, pairs: int, seed: int
) -> ExamplePairs:
    """`pairs` queries at random, each with a right image at random and the hardest wrong one of a sample.

    A right image shows the same person and counts for the query; the wrong one is the one of another person with the
    highest score among `GALLERY_SAMPLE` gallery images at random. `images` [n, 3, H, W] are those of the test, as
    `load_images` gives them. Raises UserError for more pairs than there are queries with a right image.
    """
    draws = generator(seed, Stream.EXAMPLE_PAIRS)
    partners: dict[int, list[int]] = {}
    for at, record in enumerate(dataset.gallery):
        partners.setdefault(record.person, []).append(at)
    query, right = [], []
    for at in draws.permutation(len(dataset.query)):
        found = [
            other
            for other in partners.get(dataset.query[at].person, [])
            if may_match(dataset.query[at], dataset.gallery[other])
        ]
        if found and len(query) < pairs:
            query.append(int(at))
            right.append(int(draws.choice(found)))
    if len(query) < pairs:
        raise UserError(f"{dataset.name} has {len(query)} queries with a right image; ask for so many --pairs or fewer")
    sample = np.sort(draws.permutation(len(dataset.gallery))[:GALLERY_SAMPLE])
    chosen = np.array(query)
    scores = _scores(model, dataset, images, config, chosen, sample)
    persons = np.array([dataset.gallery[at].person for at in sample])
    scores[persons == np.array([dataset.query[at].person for at in chosen])[:, None]] = -np.inf
    if not np.isfinite(scores.max(axis=1)).all():
        raise UserError(f"{dataset.name} has no images of other persons among {len(sample)} of its gallery")
    return ExamplePairs(chosen, np.array(right), sample[scores.argmax(axis=1)], len(sample))


def gallery_positions(dataset: Dataset, gallery: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where gallery images lie among the images of the test."""
    return np.asarray(dataset.sides[1])[gallery]


def _scores(
    model: Matcher,
    dataset: Dataset,
    images: Images,
    config: CellConfig,
    query: NDArray[np.int64],
    gallery: NDArray[np.int64],
) -> NDArray[np.float32]:
    settings = config.evaluation
    ours = model.encode_all(images, np.asarray(dataset.sides[0])[query], settings.batch, settings.scoring)
    theirs = model.encode_all(images, gallery_positions(dataset, gallery), settings.batch, settings.scoring)
    budget = int(settings.memory_gib * 2**30) // 4
    return score_all(model.head, ours, theirs, budget, scoring=settings.scoring).numpy()
