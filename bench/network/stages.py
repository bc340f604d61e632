"""The layers of a published network up to a cut: what every architecture's module gives."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Stages:
    """Layers under their published names, and what lies behind them.

    `layers` maps images [B, 3, H, W] to [B, channels, H/stride, W/stride]; the keys of its state are the published
    ones. `beyond` holds the first parts of the published keys that lie behind the cut, each with its dot.
    """

    layers: nn.Sequential
    channels: int
    stride: int
    beyond: tuple[str, ...]
