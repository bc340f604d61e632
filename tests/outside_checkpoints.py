"""Checkpoints in the form of the authors' public code, with the states of the golden files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.network.architectures import build_stages
from bench.network.weight_keys import layout

Parts = dict[str, dict[str, Tensor]]


def tensors(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, Tensor]:
    """The arrays under a prefix, by what follows it."""
    return {
        key.removeprefix(prefix): torch.from_numpy(array) for key, array in arrays.items() if key.startswith(prefix)
    }


def authors_parts(
    matcher: Mapping[str, Tensor],
    encoder: Mapping[str, Tensor],
    arch: str = "resnet18",
    cut: str = "layer2",
    last: str = "layer2",
) -> Parts:
    """`model` and `criterion` of width 16 behind `cut`, and the layers behind that up to `last`, which are kept too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        layers = build_stages(arch, "b", last).layers.state_dict()
        channels = layout(arch, "b", cut).channels
        neck = {"neck_conv.weight": torch.randn(16, channels, 3, 3) / channels**0.5, "neck_conv.bias": torch.randn(16)}
    base = {f"base.{key}": tensor for key, tensor in layers.items()}
    classifier = {"base.fc.weight": torch.zeros(10, 2048), "base.fc.bias": torch.zeros(10)}
    criterion = {f"matcher.{key}": tensor.clone() for key, tensor in matcher.items()}
    return {"model": {**base, **classifier, **neck, **encoder}, "criterion": criterion}


def wrapped(parts: Parts) -> Parts:
    """The same with `module.` in front of all names."""
    return {name: {f"module.{key}": tensor for key, tensor in part.items()} for name, part in parts.items()}


def write(parts: Parts, path: Path) -> Path:
    """A checkpoint as the authors' trainer writes it, with numbers beside the parts."""
    torch.save({**parts, "epoch": 15, "best_mAP": 0.5}, path)
    return path
