"""Starts of the backbone that the suite makes itself, where there are no ImageNet weights: what each is, by name.

A start is to the small presets what ImageNet weights are to the paper: a backbone that has learned to tell apart
pictures of something else. What it learns from is drawn (`bench.data.standin.objects`), how is in
`bench.network.common_start`. No torch here: a run's identity holds its start.
"""

from __future__ import annotations

from pydantic import Field

from bench.architectures import ARCHITECTURES
from bench.config import Settings, digest
from bench.errors import UserError

VERSION = 1
"""Raised whenever the same start would become another network: the pictures, the order of them, or how it learns."""

COVERED = {("resnet18", "b"): "layer3", ("resnet50", "b"): "layer3", ("mobilenet_v2", "none"): "features.13"}
"""The backbones that a start can teach, by (architecture, IBN): those of the suite's studies, up to the cut given here.

Each is taught by itself, and kept in a file of its own.
"""


class Start(Settings):
    """Pictures of drawn things that are no persons, and the steps in which a backbone learns to name their kinds.

    Sizes in pixels. `kinds` are the classes; each of `steps` sees `batch` pictures that no other step sees. `lr` is the
    peak of one cycle.
    """

    height: int = Field(ge=16)
    width: int = Field(ge=16)
    kinds: int = Field(ge=2)
    steps: int = Field(ge=1)
    batch: int = Field(ge=2)
    lr: float = Field(gt=0)


STARTS: dict[str, Start] = {
    "standin": Start(height=48, width=24, kinds=300, steps=500, batch=32, lr=0.1),
    "standin_tiny": Start(height=32, width=16, kinds=20, steps=20, batch=16, lr=0.05),
}
"""By the name that `backbone.weights` takes. The first takes a minute; the second a second, and has learned little."""


def named(name: str) -> str:
    """What stands in a run's identity for a start of STARTS: its name and what it depends on, hashed."""
    return f"{name}:{digest([VERSION, STARTS[name].model_dump()])[:12]}"


def name_of(weights: str | None) -> str | None:
    """The name of the start that `backbone.weights` means, as asked for or as in an identity; None for all else."""
    name = (weights or "").partition(":")[0]
    return name if name in STARTS else None


def title_of(weights: str | None) -> str:
    """What tables and figures say of a backbone that began from a start; "" where it did not."""
    name = name_of(weights)
    if name is None:
        return ""
    return "backbone: stand-in pretraining" + (" (tiny)" if name != "standin" else "")


def check_covered(arch: str, ibn: str, cut: str, weights: str) -> None:
    """Raise UserError, which says what is covered, if a start does not cover a backbone."""
    last, cuts = COVERED.get((arch, ibn)), ARCHITECTURES[arch].cuts
    if last is None or cuts.index(cut) > cuts.index(last):
        covered = ", ".join(f"{own} with IBN {kind} up to {end}" for (own, kind), end in COVERED.items())
        raise UserError(
            f"backbone.weights={name_of(weights)} covers {covered}; not {arch} with IBN {ibn} cut behind {cut}: choose "
            "one of those, a file of weights, or backbone.weights=null with backbone.batchnorm=train"
        )
