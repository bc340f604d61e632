"""Networks as they are before training."""

from __future__ import annotations

import copy
from functools import cache

import torch
from torch import nn

from bench.config import CellConfig
from bench.network.matcher import Matcher


def fresh(config: CellConfig) -> Matcher:
    """The network that a configuration and its seed stand for: drawn once, then copied, which takes far less."""
    return copy.deepcopy(_drawn(config.model_dump_json()))


def pooling(config: CellConfig) -> Matcher:
    """A network in evaluation mode whose backbone only pools: for what does not depend on a backbone."""
    model = fresh(config)
    _, height, width = model.backbone.feature_shape(config.input.height, config.input.width)
    neck = model.backbone.neck
    model.backbone.stages = nn.AdaptiveAvgPool2d((height, width))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model.backbone.neck = nn.Conv2d(3, neck.out_channels, kernel_size=3, padding=1)
    return model.eval()


@cache
def _drawn(config: str) -> Matcher:
    found = CellConfig.model_validate_json(config)
    return Matcher(found, found.head, None)
