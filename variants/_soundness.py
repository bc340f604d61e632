"""Whether a head does and declares what those who call it rely on. No check here or in `_laws` is an `assert`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from variants._base import Head, LocalMatches, Product, Repr
from variants._errors import LawBroken

MOST_PAIR_BYTES = 2**40
"""More than any machine has for one pair of images."""


def demand(holds: bool | Tensor, message: str) -> None:
    """Raise LawBroken with the message unless it holds."""
    if not holds:
        raise LawBroken(message)


def check_scores(head: Head, queries: Tensor, gallery: Tensor) -> Repr:
    """What the head keeps of the feature maps `queries` [Q, d, h, w], matched with `gallery` [G, d, h, w].

    In evaluation mode, which it sets. Raises LawBroken unless both are made of real, finite numbers, of the right
    shape, and the same each time.
    """
    head.eval()
    with torch.no_grad():
        query, other = encoded(head, queries), encoded(head, gallery)
        scores = matched(head, query, other)
        again = matched(head, encoded(head, queries), encoded(head, gallery))
    demand(scores.isfinite().all(), "some scores are not finite")
    demand(torch.equal(scores, again), "the same images score differently each time, in evaluation mode")
    return query


def encoded(head: Head, maps: Tensor) -> Repr:
    """`encode`, whose result is looked at."""
    found = head.encode(maps)
    demand(isinstance(found, Repr), f"encode must return a Repr, not {type(found).__name__}")
    demand(len(found) == len(maps), f"encode made {len(found)} images of {len(maps)}")
    for name, tensor in found.items():
        demand(tensor.is_floating_point(), f"what encode keeps as {name} must be real numbers, not {tensor.dtype}")
    return found


def matched(head: Head, query: Repr, gallery: Repr) -> Tensor:
    """`match`, whose result is looked at."""
    scores = head.match(query, gallery)
    demand(isinstance(scores, Tensor), f"match must return a tensor, not {type(scores).__name__}")
    demand(
        scores.shape == (len(query), len(gallery)),
        f"match gave {tuple(scores.shape)} for {len(query)} queries and {len(gallery)} gallery images",
    )
    demand(scores.is_floating_point(), f"scores must be real numbers, not {scores.dtype}")
    return scores


def check_gradients(head: Head, maps: Tensor) -> None:
    """Raise LawBroken unless training on `maps` [B, d, h, w], matched with themselves, gives finite gradients.

    As in a training batch, each image meets itself; one that is in the batch twice meets its double too.
    """
    head.train()
    maps = torch.cat((maps, maps[:1])).requires_grad_()
    found = head.encode(maps)
    scores = head.match(found, found)
    demand(scores.isfinite().all(), "in training some scores of a batch with itself are not finite")
    demand(scores.requires_grad, "scores carry no gradient, so that nothing would be learnt")
    weights = torch.randn(scores.shape, generator=torch.Generator().manual_seed(9), dtype=scores.dtype)
    (scores.sigmoid() * weights).sum().backward()
    for name, tensor in [*head.named_parameters(), ("feature maps", maps)]:
        if tensor.grad is not None:
            demand(
                tensor.grad.isfinite().all(),
                f"the gradient of the {name} is not finite where an image meets itself, as in every training batch "
                "(a root, a logarithm or a division at 0?)",
            )


def check_declarations(head: Head) -> None:
    """Raise LawBroken for what is declared in another type than the contract says, or in numbers that cannot be."""
    for name in ("symmetric", "exact_representations", "takes_16_bits", "offers_local_matches"):
        value = getattr(head, name, None)
        demand(type(value) is bool, f"{name} must be True or False, not {value!r}")
    defined = type(head).local_matches is not Head.local_matches
    demand(
        defined == head.offers_local_matches,
        "local_matches is defined, but offers_local_matches is not True"
        if defined
        else "offers_local_matches is True, but local_matches is not defined",
    )
    demand(_whole(head.numerics, least=1), f"numerics must be a whole number from 1, not {head.numerics!r}")
    size = head.pair_bytes()
    demand(
        _whole(size, least=1) and size <= MOST_PAIR_BYTES,
        f"pair_bytes must give a positive whole number of bytes, {MOST_PAIR_BYTES} at most, not {size!r}",
    )
    step = head.training_bytes(4)
    demand(_whole(step, least=0), f"training_bytes must give a whole number of bytes, not {step!r}")
    names = {name for name, _ in head.named_parameters()}
    for what, found in (("pair_parameters", head.pair_parameters()), ("void_parameters", head.void_parameters())):
        demand(isinstance(found, set | frozenset), f"{what} must give a set of names, not {found!r}")
        unknown = ", ".join(sorted(map(str, found - names)))
        demand(not unknown, f"{what} names what is none: {unknown}")
    products = {"encode_products": head.encode_products(2), "match_products": head.match_products(2, 3)}
    for what, found in products.items():
        sound = isinstance(found, list) and all(isinstance(item, Product) for item in found)
        demand(sound, f"{what} must give a list of Product, not {found!r}")
    demand(isinstance(head.matcher(), Head), f"matcher must give a Head, not {type(head.matcher()).__name__}")


def check_local_matches(head: Head, query: Repr, gallery: Repr) -> list[LocalMatches]:
    """The local matches of n pairs, whose levels are looked at. Raises LawBroken for what the contract excludes."""
    levels = head.local_matches(query, gallery)
    sound = isinstance(levels, list) and levels and all(isinstance(level, LocalMatches) for level in levels)
    demand(sound, f"local_matches must give a list of LocalMatches, one a level, not {levels!r}")
    names = [level.level for level in levels]
    demand(
        all(isinstance(name, str) and name.strip() for name in names) and len(set(names)) == len(names),
        f"each level of local_matches needs a name of its own, got {names}",
    )
    for level in levels:
        _check_level(level, len(query), head.tokens)
    return levels


def _check_level(level: LocalMatches, pairs: int, tokens: int) -> None:
    what = f"local_matches, level {level.level!r}"
    kinds = {"query_cell": torch.int64, "gallery_cell": torch.int64, "similarity": torch.float32}
    kinds |= {"weight": torch.float32, "score": torch.float32}
    values = {name: getattr(level, name) for name in kinds}
    for name, kind in kinds.items():
        found = getattr(values[name], "dtype", type(values[name]).__name__)
        demand(found == kind, f"{what}: {name} must be a tensor of {kind}, not {found}")
    score = values.pop("score")
    demand(score.shape == (pairs,), f"{what}: score must be [n] = {(pairs,)}, not {tuple(score.shape)}")
    shapes = {name: tuple(value.shape) for name, value in values.items()}
    shape = shapes["similarity"]
    demand(
        len(set(shapes.values())) == 1 and len(shape) == 2 and shape[0] == pairs and shape[1] > 0,
        f"{what}: cells, similarity and weight must all be [n, m] with n = {pairs} and m above 0, got {shapes}",
    )
    for name in ("query_cell", "gallery_cell"):
        inside = (values[name] >= 0) & (values[name] < tokens)
        demand(inside.all(), f"{what}: {name} must be positions from 0 to {tokens - 1}")
    for name in ("similarity", "weight"):
        demand(values[name].isfinite().all(), f"{what}: some values of {name} are not finite")
    demand(score.isfinite().all(), f"{what}: some scores are not finite")


def _whole(value: Any, least: int) -> bool:
    return type(value) is int and value >= least
