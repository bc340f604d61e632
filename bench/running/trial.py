"""What is found out of a head before anything is trained: that it can be built, and the memory that it asks for.

Heads of the suite are built without data, in this process. Heads from outside are tried with a few random images in a
process of their own: no code of theirs runs in the process of the command.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass

import torch

import variants
from bench.config import HALVES, Backbone, CellConfig, Input, Option, Scoring
from bench.errors import UserError
from bench.network.backbone import build_backbone
from bench.running.apart import TRIAL_SECONDS, apart, words_of
from variants._base import Head, Repr
from variants._soundness import check_declarations, check_scores

QUERIES, GALLERY = 2, 3
"""Random images of each role with which a head from outside is tried."""

Options = tuple[tuple[str, Option], ...]


@dataclass(frozen=True)
class Footprint:
    """The memory that a head asks for."""

    numbers_per_image: int
    """That its representation of an image holds."""
    exact_representations: bool
    pair_bytes: int
    training_bytes: int
    """Of a training step's `encode` and `match`, as the head predicts it; 0 where it does not."""

    def bytes_per_image(self, scoring: Scoring) -> int:
        """What a representation takes where it is kept for scoring."""
        return self.numbers_per_image * (2 if scoring in HALVES and not self.exact_representations else 4)


def footprint_of(config: CellConfig, head: str, device_kind: str) -> Footprint:
    """What a run's head asks for on a device of this kind ("cpu", "cuda"). `head` is what `variants.build` takes.

    Raises UserError, one sentence, for a head that cannot be built or, from outside, does not match images soundly.
    """
    shape = _feature_shape(config.backbone, config.input, config.width)
    batch = config.training.persons * config.training.images
    return footprint(head, config.head_digest, shape, tuple(sorted(config.options.items())), batch, device_kind)


@functools.cache
def footprint(
    head: str, digest: str, shape: tuple[int, int, int], options: Options, batch: int, device_kind: str
) -> Footprint:
    """As `footprint_of`, for feature maps of a shape (d, h, w) and a training batch of so many images.

    `digest` is that of a head from outside, else "". The same head is tried once.
    """
    if not digest:
        try:
            with torch.device("meta"):
                built = variants.build(head, shape, **dict(options))
                return _footprint(built, built.encode(torch.empty(1, *shape)), batch, device_kind)
        except Exception as fault:  # torch raises whatever an unusable size leads it to
            raise UserError(words_of(fault)) from fault
    print(f"trying {head}, for at most {TRIAL_SECONDS} s", file=sys.stderr, flush=True)
    tried = apart(_try, head, digest, shape, options, batch, device_kind)
    if tried.problem:
        raise UserError(f"{tried.problem}; try `bench check-head {head}`")
    return tried.value


def _try(
    head: str, digest: str, shape: tuple[int, int, int], options: Options, batch: int, device_kind: str
) -> Footprint:
    if variants.describe(head).digest != digest:
        raise ValueError("its source was changed just now; start anew")
    built = variants.build(head, shape, **dict(options))
    draws = torch.Generator().manual_seed(0)
    query, gallery = (torch.rand(images, *shape, generator=draws) for images in (QUERIES, GALLERY))
    kept = check_scores(built, query, gallery)
    check_declarations(built)
    return _footprint(built, kept, batch, device_kind)


def _footprint(head: Head, kept: Repr, batch: int, device_kind: str) -> Footprint:
    return Footprint(
        numbers_per_image=sum(tensor[:1].numel() for _, tensor in kept.items()),
        exact_representations=head.exact_representations,
        pair_bytes=head.pair_bytes(),
        training_bytes=head.training_bytes(batch, device_kind),
    )


@functools.cache
def _feature_shape(backbone: Backbone, size: Input, width: int) -> tuple[int, int, int]:
    with torch.device("meta"):
        network = build_backbone(backbone.arch, backbone.ibn, backbone.cut, width)
    return network.feature_shape(size.height, size.width)
