"""Whole networks that were trained elsewhere: by this suite, or by the authors' public code; sizes are read from them.

A checkpoint of this suite names its tensors `backbone.stages.`, `backbone.neck.` and `head.`. One of the authors' code
has two parts: `model`, with `base.`, `neck_conv.` and `encoder.`, and `criterion`, with `matcher.`. `module.` may stand
in front of all names of either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import variants
from bench.config import Backbone, CellConfig, Option
from bench.errors import UserError
from bench.network.backbone import build_backbone
from bench.network.matcher import Matcher
from bench.network.weight_file import WeightFile, read_content, read_file, tensors_by_name, unwrapped
from bench.network.weight_keys import difference, fit, layout, possible, recognise, some_of
from variants._base import Head

_WRAPPER = "module."
_OWN_PARTS = ("backbone.stages.", "backbone.neck.", "head.")
_PUBLISHED_PARTS = ("base.", "neck_conv.", "encoder.")
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Ends of the names of what no optimiser changes."""


@dataclass(frozen=True)
class OutsideWeights:
    """A network's tensors by part, each under the names that the part itself has."""

    file: WeightFile
    published: bool
    """Whether the authors' code wrote them; else this suite did."""
    stages: dict[str, Tensor]
    neck: dict[str, Tensor]
    head: dict[str, Tensor]
    """The head's own state; of the authors' code the matcher's."""
    encoder: dict[str, Tensor]
    """Of the authors' code the encoder's, with `encoder.` in front; else empty."""

    @property
    def width(self) -> int:
        """d, channels of the neck."""
        return len(self.neck["weight"])

    def refuse(self, reason: str) -> UserError:
        """The error that says why these weights cannot be taken."""
        return _refusal(self.file.path, reason)


def read_outside(path: Path) -> OutsideWeights:
    """The parts of a checkpoint, read without running any code of it.

    Raises UserError for what is no checkpoint of either form, and for numbers that are not finite.
    """
    file = read_file(path)
    content = read_content(file)
    parts = content if isinstance(content, Mapping) else {}
    published = all(isinstance(parts.get(name), Mapping) for name in ("model", "criterion"))
    weights = _published(file, parts) if published else _own(file, content)
    kernel = weights.neck.get("weight")
    if kernel is None or kernel.dim() != 4 or not len(kernel) or not kernel.shape[1]:
        raise weights.refuse("it has no neck, a convolution that gives the head its width")
    for part in (weights.stages, weights.neck, weights.head, weights.encoder):
        if bad := [key for key, tensor in part.items() if not possible(key, tensor)]:
            raise weights.refuse(f"not all numbers in it are finite, and variances at least 0, as in {some_of(bad)}")
    return weights


def fitted(weights: OutsideWeights, config: CellConfig, head: str) -> CellConfig:
    """The configuration with the width, backbone and sizes of the head that the tensors show.

    Options that no tensor shows stay as they are, such as the number of attention heads. `head` is what
    `variants.build` takes. Raises UserError where the tensors are not those of this head for pictures of this size.
    """
    asked = config.backbone
    arch, ibn, cut = recognise(weights.stages, weights.neck["weight"].shape[1], (asked.arch, asked.ibn, asked.cut))
    values = {**asked.model_dump(), "arch": arch, "ibn": ibn, "cut": cut}
    config = config.model_copy(update={"backbone": Backbone.model_validate(values), "width": weights.width})
    fit(weights.stages, layout(arch, ibn, cut), weights.file.path, arch, ibn, cut)
    with torch.device("meta"):
        backbone = build_backbone(arch, ibn, cut, weights.width)
    shape = backbone.feature_shape(config.input.height, config.input.width)
    found = _fit_head(weights, head, shape, config.options)
    if found is None:
        raise weights.refuse(f"{_name(head)} cannot be built with width {weights.width} and options {config.options}")
    if found.problem:
        raise weights.refuse(_explain(weights, head, shape, config, found))
    return config.model_copy(update={"options": found.options})


def outside_network(weights: OutsideWeights, config: CellConfig, head: str) -> Matcher:
    """The network of a configuration that `fitted` gave, with these weights. Raises UserError as that does."""
    model = Matcher(config, head, None)
    backbone, options = model.backbone, config.backbone
    stages = layout(options.arch, options.ibn, options.cut)
    state = fit(weights.stages, stages, weights.file.path, options.arch, options.ibn, options.cut)
    backbone.stages.load_state_dict(state, strict=False)
    if problem := difference(weights.neck, backbone.neck.state_dict()):
        raise weights.refuse(f"{problem}, in the neck behind {options.arch} cut at {options.cut}")
    backbone.neck.load_state_dict(weights.neck)
    if weights.published:
        model.head.load_published(weights.head, weights.encoder or None)
    else:
        model.head.load_state_dict(weights.head, strict=False)
    return model


def _own(file: WeightFile, content: Any) -> OutsideWeights:
    state = _bare(tensors_by_name(unwrapped(content, file.path), file.path))
    if not any(key.startswith(_OWN_PARTS) for key in state):
        alone = any(key.startswith(_PUBLISHED_PARTS) for key in state)
        what = "here the criterion is missing" if alone else "this is neither"
        raise _refusal(
            file.path,
            "a checkpoint of this suite has names such as backbone.stages. and head., one of the authors' code the "
            f"parts model and criterion; {what}, and holds {some_of([*state]) or 'nothing'}",
        )
    stages, neck, head = _split(file, state, _OWN_PARTS)
    return OutsideWeights(file, False, stages, neck, head, {})


def _published(file: WeightFile, parts: Mapping[str, Any]) -> OutsideWeights:
    model, criterion = (_bare(tensors_by_name(parts[name], file.path)) for name in ("model", "criterion"))
    stages, neck, encoder = _split(file, model, _PUBLISHED_PARTS)
    (matcher,) = _split(file, criterion, ("matcher.",))
    encoder = {f"encoder.{key}": tensor for key, tensor in encoder.items()}
    return OutsideWeights(file, True, stages, neck, matcher, encoder)


def _split(file: WeightFile, state: Mapping[str, Tensor], prefixes: Iterable[str]) -> list[dict[str, Tensor]]:
    """The tensors under each prefix, by what follows it. Raises UserError for any other."""
    parts = {
        prefix: {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}
        for prefix in prefixes
    }
    if surplus := [key for key in state if not key.startswith(tuple(parts))]:
        raise _refusal(file.path, f"beside {', '.join(parts)} it has unexpected keys: {some_of(surplus)}")
    return [*parts.values()]


def _bare(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names without the `module.` that training on several GPUs puts in front."""
    if all(key.startswith(_WRAPPER) for key in state):
        return {key.removeprefix(_WRAPPER): tensor for key, tensor in state.items()}
    return state


@dataclass(frozen=True)
class _Fit:
    """How near a head comes to a state: the names that the state lacks and has too many, and the shapes that differ."""

    options: dict[str, Option]
    missing: int
    surplus: int
    shapes: int
    problem: str = ""
    """Why the head does not take the state; "" where it does."""

    @property
    def misfit(self) -> tuple[int, int]:
        """Of two heads the one with the smaller misfit is nearer: names count before shapes."""
        return self.missing + self.surplus, self.shapes


def _fit_head(
    weights: OutsideWeights,
    head: str,
    shape: tuple[int, int, int],
    asked: Mapping[str, Option],
    lengths: bool = True,
) -> _Fit | None:
    """The options under which a head comes nearest to the tensors, one option changed at a time until none helps.

    Without `lengths` only options are tried that change names. None where there is no head of the options `asked` for.
    """
    defaults = variants.describe(head).options
    built = _build(head, shape, {**defaults, **asked})
    if built is None:
        return None
    fixed = built.published_options if weights.published else {}
    best = _try(weights, head, shape, {**defaults, **asked, **fixed})
    tensors = {**weights.head, **weights.encoder}
    values = {name: _candidates(name, default, tensors, lengths) for name, default in defaults.items()}
    changes = [(name, value) for name in values if name not in fixed for value in values[name]]
    before = None
    while best is not before:
        before = best
        for name, value in changes:
            if best.misfit > (0, 0):
                found = _try(weights, head, shape, {**best.options, name: value})
                best = found if found is not None and found.misfit < best.misfit else best
    return replace(best, problem=_problem(weights, _build(head, shape, best.options)))


def _candidates(name: str, default: Option, tensors: Mapping[str, Tensor], lengths: bool) -> list[Option]:
    """Values that an option may have, going by the tensors: counts for `layers`, lengths for other whole numbers."""
    if isinstance(default, bool):
        return [True, False]
    if name == "layers":
        numbers = [int(part) for key in tensors for part in key.split(".") if part.isdecimal() and len(part) < 4]
        return [*range(1, max(numbers, default=0) + 3)]
    if isinstance(default, int) and lengths:
        return sorted({length for tensor in tensors.values() for length in tensor.shape})
    return []


def _try(weights: OutsideWeights, head: str, shape: tuple[int, int, int], options: dict[str, Option]) -> _Fit | None:
    """How far the head of these options is from the tensors; None where there is no such head."""
    built = _build(head, shape, options)
    if built is None:
        return None
    found = {**weights.head, **weights.encoder}
    if weights.published:
        expected = built.published_parameters()
        found = {key: tensor for key, tensor in found.items() if not key.endswith(_STATISTICS)}
    else:
        expected = built.state_dict()
    both = expected.keys() & found.keys()
    shapes = sum(expected[key].shape != found[key].shape for key in both)
    return _Fit(options, len(expected) - len(both), len(found) - len(both), shapes)


def _build(head: str, shape: tuple[int, int, int], options: Mapping[str, Option]) -> Head | None:
    """A head without data; None for options that it refuses."""
    try:
        with torch.device("meta"):
            return variants.build(head, shape, **options)
    except ValueError:
        return None


def _problem(weights: OutsideWeights, built: Head) -> str:
    """Why a head does not take these tensors, or ""."""
    if not weights.published:
        return difference(weights.head, built.state_dict())
    try:
        built.load_published(weights.head, weights.encoder or None)
    except ValueError as fault:
        return str(fault)
    return ""


def _explain(weights: OutsideWeights, head: str, shape: tuple[int, int, int], config: CellConfig, found: _Fit) -> str:
    """Why a head does not take the tensors, and which other one has their names."""
    others = [
        other for other in variants.names() if found.misfit[0] and other != head and _has_names(weights, other, shape)
    ]
    if others:
        return f"its keys are those of {' or '.join(others)}, not of {_name(head)}: say --head {others[0]}"
    size = f"{config.input.height} x {config.input.width} pixels"
    return (
        f"{found.problem}, for {_name(head)} of width {config.width} on pictures of {size} (other sizes of pictures "
        "are said by --height and --width, options by --set options.NAME=VALUE)"
    )


def _has_names(weights: OutsideWeights, head: str, shape: tuple[int, int, int]) -> bool:
    """Whether a head has the names of the tensors. The authors' code stores more than it uses."""
    found = _fit_head(weights, head, shape, {}, lengths=False)
    if found is None or found.missing:
        return False
    if not weights.published:
        return not found.surplus
    return bool(_build(head, shape, found.options).published_parameters())


def _name(head: str) -> str:
    return variants.describe(head).name


def _refusal(path: Path, reason: str) -> UserError:
    return UserError(f"cannot take weights from {path}: {reason}")
