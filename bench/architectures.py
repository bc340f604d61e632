"""Architectures of backbones by name, and where they may be cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ArchitectureName = Literal["resnet18", "resnet34", "resnet50", "resnet101", "mobilenet_v2"]


@dataclass(frozen=True)
class Architecture:
    """The choices that an architecture leaves; the first of `ibn`, and `cut`, hold where nothing is said."""

    ibn: tuple[str, ...]
    """Kinds of instance normalisation."""
    cuts: tuple[str, ...]
    """Published names of the stages or blocks behind which it may be cut, from the first to the last."""
    cut: str
    """The last one of stride 16: its map has as many places for all architectures."""


_RESNET = Architecture(("b", "none", "a"), ("layer1", "layer2", "layer3", "layer4"), "layer3")
ARCHITECTURES: dict[str, Architecture] = {
    "resnet18": _RESNET,
    "resnet34": _RESNET,
    "resnet50": _RESNET,
    "resnet101": _RESNET,
    "mobilenet_v2": Architecture(("none",), tuple(f"features.{number}" for number in range(19)), "features.13"),
}


def check_architecture(arch: str, ibn: str, cut: str) -> None:
    """Raise ValueError if there is no such backbone."""
    if arch not in ARCHITECTURES:
        raise ValueError(f"no backbone {arch!r}; known: {', '.join(ARCHITECTURES)}")
    own = ARCHITECTURES[arch]
    if ibn not in own.ibn:
        raise ValueError(f"backbone.ibn={ibn}: {arch} is there with IBN {', '.join(own.ibn)} only")
    if cut not in own.cuts:
        raise ValueError(
            f"backbone.cut={cut}: {arch} can be cut behind {own.cuts[0]} to {own.cuts[-1]} (say {own.cut})"
        )
