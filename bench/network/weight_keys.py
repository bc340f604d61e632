"""Whether a state's names and shapes are those of an architecture, what they are of instead, and renaming by order."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from bench.architectures import ARCHITECTURES
from bench.errors import UserError
from bench.network.architectures import build_stages
from bench.network.stages import Stages

_COUNTER = "num_batches_tracked"
"""Entries that old files lack and nothing here reads."""

_LACKS = "it lacks keys"

_ROLES = {
    "running_var": ("var",),
    "running_mean": ("mean",),
    "bias": ("bias", "beta"),
    "weight": ("weight", "gamma", "kernel"),
}
"""Words by which the last part of a foreign name tells what its tensor is for."""


def fit(state: dict[str, Tensor], stages: Stages, path: Path, arch: str, ibn: str, cut: str) -> dict[str, Tensor]:
    """The entries of a state that `stages` loads; those beyond the cut are dropped by name.

    One name before every key that is not the network's own (`module.`) is taken off. Raises UserError for any other
    surplus, missing or unusable entry, in terms of what the file holds where that can be told.
    """
    expected = stages.layers.state_dict()
    kept = _kept(state, stages)
    problem = difference(kept, expected)
    if problem:
        raise UserError(f"cannot take backbone weights from {path}: {_explain(state, problem, path, arch, ibn, cut)}")
    bad = [key for key, tensor in kept.items() if not possible(key, tensor)]
    if bad:
        raise UserError(
            f"cannot take backbone weights from {path}: not all numbers in it are finite, and variances at least 0, "
            f"as in {some_of(bad)}"
        )
    return kept


def recognise(state: dict[str, Tensor], channels: int, asked: tuple[str, str, str]) -> tuple[str, str, str]:
    """The architecture, kind of IBN and cut whose layers a state holds and whose map has so many channels.

    That `asked` for is tried first. Where none is found it is the one that comes nearest.
    """
    known = [(name, ibn, cut) for name, own in ARCHITECTURES.items() for ibn in own.ibn for cut in reversed(own.cuts)]
    nearest, least = asked, float("inf")
    for choice in (asked, *known):
        stages = layout(*choice)
        if stages.channels != channels:
            continue
        expected = stages.layers.state_dict()
        found = _kept(state, stages)
        apart = len(expected.keys() ^ found.keys())
        apart += sum(found[key].shape != expected[key].shape for key in found.keys() & expected.keys())
        if not difference(found, expected):
            return choice
        if apart < least:
            nearest, least = choice, apart
    return nearest


def convert(state: Mapping[str, Tensor], arch: str, ibn: str, cut: str | None = None) -> dict[str, Tensor]:
    """The tensors under the published names, matched in order and shape; what follows the whole network is dropped.

    They must reach to `cut` (default: the architecture's own). Raises ValueError that says where they first differ.
    """
    own = ARCHITECTURES[arch]
    expected = _shapes(arch, ibn, own.cuts[-1])
    needed = len(_shapes(arch, ibn, cut or own.cut))
    found = {key: tensor for key, tensor in state.items() if tensor.is_floating_point() and tensor.dim()}
    for number, ((theirs, tensor), (ours, shape)) in enumerate(zip(found.items(), expected.items(), strict=False), 1):
        if tensor.shape != shape or _role(theirs) not in ("", _role(ours)) or not possible(ours, tensor):
            raise ValueError(
                f"tensor {number} of the file is {theirs} of {_size(tensor.shape)}, where {arch} (IBN {ibn}) has "
                f"{ours} of {_size(shape)}"
            )
    if len(found) < needed:
        raise ValueError(f"the file holds {len(found)} tensors, {arch} (IBN {ibn}) up to the cut {needed}")
    return dict(zip(expected, found.values(), strict=False))


def _bare(state: dict[str, Tensor], own: set[str]) -> dict[str, Tensor]:
    while all("." in key for key in state):
        first = {key.split(".")[0] for key in state}
        if len(first) != 1 or first <= own:
            break
        state = {key.partition(".")[2]: tensor for key, tensor in state.items()}
    return state


def difference(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """How two states differ in names, shapes or kinds of tensors, or "". Counters of batches may be missing."""
    missing = [key for key in expected if key not in found and not key.endswith(_COUNTER)]
    surplus = [key for key in found if key not in expected]
    for problem, keys in ((_LACKS, missing), ("it has unexpected keys", surplus)):
        if keys:
            return f"{problem}: {some_of(keys)}"
    for key, tensor in found.items():
        if tensor.shape != expected[key].shape:
            return f"{key} is of {_size(tensor.shape)}, not of {_size(expected[key].shape)}"
        if not key.endswith(_COUNTER) and tensor.is_floating_point() != expected[key].is_floating_point():
            return f"{key} holds numbers of another kind ({tensor.dtype})"
    return ""


def _explain(state: dict[str, Tensor], problem: str, path: Path, arch: str, ibn: str, cut: str) -> str:
    """Why a state does not fit, in terms of what it is where that can be told."""
    for name, own in ARCHITECTURES.items():
        for kind in own.ibn:
            if (name, kind) != (arch, ibn) and _is_of(state, name, kind):
                return (
                    f"it holds {name} with IBN {kind}, not {arch} with IBN {ibn}; name another file, or set "
                    f"backbone.arch={name} and backbone.ibn={kind}"
                )
    if problem.startswith(_LACKS):
        try:
            convert(state, arch, ibn, cut)
        except ValueError:
            pass
        else:
            return (
                f"its tensors match {arch} with IBN {ibn} in order and shape but not in name; `bench weights convert "
                f"{path} --arch {arch} --ibn {ibn} --out PATH` writes a file under the published names"
            )
    return f"{problem}, for {arch} with IBN {ibn} cut behind {cut}"


def _is_of(state: dict[str, Tensor], arch: str, ibn: str) -> bool:
    stages = layout(arch, ibn, ARCHITECTURES[arch].cut)
    return not difference(_kept(state, stages), stages.layers.state_dict())


def _kept(state: dict[str, Tensor], stages: Stages) -> dict[str, Tensor]:
    """The entries of a state, by the network's own names, that do not lie beyond the cut."""
    named = _bare(state, {key.split(".")[0] for key in (*stages.layers.state_dict(), *stages.beyond)})
    return {key: tensor for key, tensor in named.items() if not key.startswith(stages.beyond)}


def _shapes(arch: str, ibn: str, cut: str) -> dict[str, torch.Size]:
    return {
        key: tensor.shape
        for key, tensor in layout(arch, ibn, cut).layers.state_dict().items()
        if not key.endswith(_COUNTER)
    }


@functools.cache
def layout(arch: str, ibn: str, cut: str) -> Stages:
    """An architecture up to a cut, without data."""
    with torch.device("meta"):
        return build_stages(arch, ibn, cut)


def _role(key: str) -> str:
    last = key.split(".")[-1].lower()
    return next((role for role, words in _ROLES.items() if any(word in last for word in words)), "")


def possible(key: str, tensor: Tensor) -> bool:
    """Whether the numbers are finite, and not below 0 where they are variances."""
    values = tensor.float()
    return bool(torch.isfinite(values).all()) and not (key.endswith("running_var") and bool((values < 0).any()))


def _size(shape: torch.Size) -> str:
    return " x ".join(map(str, shape)) or "one number"


def some_of(keys: list[str]) -> str:
    return f"{', '.join(keys[:5])}" + (f" ({len(keys)} in all)" if len(keys) > 5 else "")
