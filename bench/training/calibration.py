"""Batch-norm statistics for a network that is tested untrained."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench.config import CellConfig
from bench.data.tensors import Images, pick, to_float
from bench.network.matcher import Matcher
from bench.randomness import Stream, generator
from bench.training.sampler import GraphSampler

CALIBRATION_BATCHES = 16
"""Batches from which an untrained network takes its batch-norm statistics."""


@torch.no_grad()
def calibrate(model: Matcher, config: CellConfig, images: Images, ids: NDArray[np.int64]) -> None:
    """Give an untrained network batch-norm statistics of training images, without changing its weights.

    Each batch holds P persons x K images at random, without augmentation. Frozen batch norms keep what they have.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the plain mean over batches
    model.train()
    for positions in _calibration_batches(config, ids):
        with model.autocast():
            found = model.encode(to_float(pick(images, positions), model.device))
            model.head.match(found, found)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


def _calibration_batches(config: CellConfig, ids: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    settings = config.training
    people = np.unique(ids)
    sampler = GraphSampler(ids, settings.persons, settings.images, config.seed)
    for number in range(CALIBRATION_BATCHES):
        draws = generator(config.seed, Stream.CALIBRATION, number)
        chosen = draws.choice(len(people), size=min(settings.persons, len(people)), replace=False)
        yield np.concatenate([sampler.deal(person) for person in chosen])
