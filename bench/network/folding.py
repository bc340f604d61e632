"""Frozen batch norms folded into the convolutions before them, those of a whole network together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Pair = tuple[nn.Conv2d, nn.BatchNorm2d]
"""A convolution that has no bias of its own, and the frozen norm of its channels, or of the last of them."""

Folded = dict[nn.Conv2d, tuple[Tensor, Tensor]]
"""Weight and bias with which a convolution gives what its norm would make of its map."""


def fold(pairs: Sequence[Pair]) -> Folded:
    """Weight and bias [C] of each pair's convolution, under autocast in its width.

    By its running statistics a frozen norm is a scale and a shift of each channel: they go into the convolution's
    weights, which takes a product with the weights instead of a pass over the map, and in training none over its
    gradient. Autograd gives weights, scales and shifts the gradients that they have apart. Channels before those of
    the norm stay as they are. On a GPU weights whose rows are equally long are multiplied together, a handful of
    kernels for all of them; every number is the one that the pair would have by itself. Raises ValueError for norms
    that do not agree in `eps`.
    """
    if not pairs:
        return {}
    groups = _groups(pairs)
    ordered = [pair for group in groups for pair in group]
    scale, shift = _scale_and_shift(ordered)
    biases = _in_autocast_width(shift).split([convolution.out_channels for convolution, _ in ordered])
    scales = scale.split([sum(convolution.out_channels for convolution, _ in group) for group in groups])
    scaled = (_scaled([pair[0].weight for pair in group], own) for group, own in zip(groups, scales, strict=True))
    weights = itertools.chain.from_iterable(scaled)
    found = zip(ordered, weights, biases, strict=True)
    return {convolution: (weight, bias) for (convolution, _), weight, bias in found}


def convolved(convolution: nn.Conv2d, x: Tensor, folded: Folded) -> Tensor:
    """The map of x [B, C, H, W] behind the convolution and the norm that is folded into it."""
    options = convolution.stride, convolution.padding, convolution.dilation, convolution.groups
    return F.conv2d(x, *folded[convolution], *options)


def _groups(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Pairs whose weights are multiplied together."""
    if not _saves_launches(pairs[0][0].weight.device):
        return [[pair] for pair in pairs]
    alike: dict[int, list[Pair]] = {}
    for convolution, norm in pairs:
        alike.setdefault(convolution.weight[0].numel(), []).append((convolution, norm))
    return list(alike.values())


def _saves_launches(device: torch.device) -> bool:
    """Whether a copy of the weights costs less there than an operation for each; a CPU's caches lose by the copy."""
    return device.type != "cpu"


def _scaled(weights: Sequence[Tensor], scale: Tensor) -> list[Tensor]:
    """Weights [C, D, h, w] of one D*h*w, each channel times its scale, all of which stand in `scale`."""
    rows = [_as_rows(weight) for weight in weights]
    if len(rows) == 1:
        products: Sequence[Tensor] = [_in_autocast_width(rows[0] * scale[:, None])]
    else:
        products = _in_autocast_width(torch.cat(rows) * scale[:, None]).split([len(part) for part in rows])
    return [_as_weight(product, weight) for product, weight in zip(products, weights, strict=True)]


def _scale_and_shift(pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """Those of all channels of all convolutions, one behind the other."""
    norms = [norm for _, norm in pairs]
    if len({norm.eps for norm in norms}) > 1:
        raise ValueError("batch norms that are folded together need the same eps")
    scale = torch.cat([norm.weight for norm in norms])
    scale = scale * (torch.cat([norm.running_var for norm in norms]) + norms[0].eps).rsqrt()
    shift = torch.cat([norm.bias for norm in norms]) - torch.cat([norm.running_mean for norm in norms]) * scale
    return _widened(scale, pairs, 1.0), _widened(shift, pairs, 0.0)


def _widened(values: Tensor, pairs: Sequence[Pair], before: float) -> Tensor:
    """A value of each channel that has a norm -> of each channel of the convolutions, `before` where there is none."""
    without = [convolution.out_channels - norm.num_features for convolution, norm in pairs]
    if not any(without):
        return values
    filling = values.new_full((max(without),), before)
    parts = values.split([norm.num_features for _, norm in pairs])
    return torch.cat([piece for count, part in zip(without, parts, strict=True) for piece in (filling[:count], part)])


def _in_autocast_width(values: Tensor) -> Tensor:
    kind = values.device.type
    return values.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else values


def _as_rows(weight: Tensor) -> Tensor:
    """[C, D, h, w] -> [C, D*h*w] in the order of memory, so that nothing is copied."""
    return (weight if weight.is_contiguous() else weight.permute(0, 2, 3, 1)).flatten(1)


def _as_weight(rows: Tensor, like: Tensor) -> Tensor:
    """The inverse of `_as_rows` for a weight such as `like`."""
    if like.is_contiguous():
        return rows.view(like.shape)
    count, depth, height, width = like.shape
    return rows.view(count, height, width, depth).permute(0, 3, 1, 2)
