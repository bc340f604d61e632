"""Batch norms as part of the linear layers beside them: no pass over very many rows for a norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Mlp(NamedTuple):
    """Layers of an MLP from rows [M, T] to [M, 1]: last(relu(norm(first(before(rows)))))."""

    before: nn.BatchNorm1d | None
    """One channel for all entries of the rows."""
    first: nn.Linear
    """T -> D."""
    norm: nn.BatchNorm1d
    """D channels."""
    last: nn.Linear
    """D -> 1."""


class Shares(NamedTuple):
    """How many rows there are, and the share of each [M], summing to 1."""

    count: Tensor
    shares: Tensor


class Moments(NamedTuple):
    """Mean [T] and covariance [T, T] of `count` rows, and the rows without their mean [M, T]."""

    centre: Tensor
    covariance: Tensor
    centred: Tensor
    count: Tensor | int


def exact_linear(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer in the dtype of its weights, also under autocast: for scores, which rounded would become ties."""
    with torch.autocast(inputs.device.type, enabled=False):
        return F.linear(inputs.to(weight.dtype), weight, bias)


def normed_linear(values: Tensor, norm: nn.BatchNorm1d | None, linear: nn.Linear) -> Tensor:
    """linear(norm(values)), [..., 1], for values [..., T]; a norm of one channel over all of them or none; T -> 1.

    As `exact_linear`, without the normed values: mean and variance become part of the linear layer. Raises ValueError
    in training if there is only one value.
    """
    if norm is None:
        return exact_linear(values, linear.weight, linear.bias)
    with torch.autocast(values.device.type, enabled=False):
        dtype = torch.promote_types(values.dtype, torch.float32)
        if norm.training:
            _check_several(values.numel())
            mean, variance = _MeanAndVariance.apply(values.to(dtype))
            _follow([norm], mean.view(1, 1), variance.view(1, 1), values.numel())
        else:
            mean, variance = norm.running_mean.to(dtype)[0], norm.running_var.to(dtype)[0]
        scale = norm.weight.to(dtype) * (variance + norm.eps).rsqrt()
        weight = linear.weight.to(dtype)
        bias = linear.bias.to(dtype) + (norm.bias.to(dtype) - mean * scale) * weight.sum()
        kept = linear.weight.dtype
    return exact_linear(values, (weight * scale).to(kept), bias.to(kept))


def shares_of(counts: Tensor, dtype: torch.dtype) -> Shares:
    """Those of rows of which each is there counts [M] times."""
    weights = counts.to(dtype)
    total = weights.sum()
    return Shares(total, weights / total)


def moments_of(rows: Tensor, shares: Shares | None) -> Moments:
    """Those of rows [M, T]; without shares each counts once. Raises ValueError if there is only one row."""
    _check_several(len(rows))
    with torch.autocast(rows.device.type, enabled=False):
        if shares is None:
            centre = rows.mean(dim=0)
            centred = rows - centre
            return Moments(centre, centred.T @ centred / len(rows), centred, len(rows))
        centre = shares.shares @ rows
        centred = rows - centre
        return Moments(centre, (centred * shares.shares[:, None]).T @ centred, centred, shares.count)


def fold(mlps: Sequence[Mlp], moments: Sequence[Moments] | None, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Centres [N, T], weights [N, D, T], biases [N, D] of N MLPs that agree in sizes, `eps` and momentum of the norms.

    With them norm(first(before(x))) is weight (x - centre) + bias. `moments` are those of each MLP's rows, as many for
    all, which running statistics then follow; None takes these instead. What is not a product of matrices is done for
    all MLPs together, which takes a GPU no more kernels than one; every number is the one that an MLP would have alone.
    """
    with torch.autocast(mlps[0].first.weight.device.type, enabled=False):
        weights = [mlp.first.weight.to(dtype) for mlp in mlps]
        norms, befores = [mlp.norm for mlp in mlps], [mlp.before for mlp in mlps if mlp.before is not None]
        if moments is None:
            covariance = None
            centre = weights[0].new_zeros(len(mlps), weights[0].shape[1])
        else:
            centre = torch.stack([part.centre for part in moments])
            covariance = torch.stack([part.covariance for part in moments])
        normed, scaled = centre, weights
        if befores:
            if covariance is None:
                mean, variance = _running(befores, dtype)
                centre = mean.expand(-1, centre.shape[1])
            else:
                mean = centre.mean(dim=1, keepdim=True)
                variance = covariance.diagonal(dim1=1, dim2=2).mean(dim=1, keepdim=True)
                variance = variance + (centre - mean).square().mean(dim=1, keepdim=True)
                _follow(befores, mean, variance, moments[0].count * centre.shape[1])
            scale = _stacked(befores, "weight", dtype) * (variance + befores[0].eps).rsqrt()
            normed = (centre - mean) * scale + _stacked(befores, "bias", dtype)
            # One by one: the gradient of each scale is a sum over a whole matrix, which threads of a CPU share.
            scaled = [weight * factor for weight, factor in zip(weights, scale.unbind(), strict=True)]
        layers = zip(mlps, weights, normed.unbind(), strict=True)
        output = torch.stack([torch.addmv(mlp.first.bias.to(dtype), weight, x) for mlp, weight, x in layers])
        whole = torch.stack(scaled)
        if covariance is None:
            mean, variance = _running(norms, dtype)
        else:
            spread = [weight @ one for weight, one in zip(scaled, covariance.unbind(), strict=True)]
            mean, variance = output, (torch.stack(spread) * whole).sum(dim=2).clamp_min(0)
            _follow(norms, mean, variance, moments[0].count)
        scale = _stacked(norms, "weight", dtype) * (variance + norms[0].eps).rsqrt()
        return centre, whole * scale[:, :, None], _stacked(norms, "bias", dtype) + (output - mean) * scale


def _check_several(count: int) -> None:
    if count < 2:
        raise ValueError("batch statistics need more than one row in training")


class _MeanAndVariance(torch.autograd.Function):
    """Of all entries, the variance not corrected for their count; the backward pass is one pass over them."""

    @staticmethod
    def forward(ctx, entries: Tensor) -> tuple[Tensor, Tensor]:
        # Not torch.var_mean, which takes a CPU six times as long as both.
        mean, variance = entries.mean(), entries.var(correction=0)
        ctx.save_for_backward(entries, mean)
        return mean, variance

    @staticmethod
    def backward(ctx, to_mean: Tensor, to_variance: Tensor) -> Tensor:
        entries, mean = ctx.saved_tensors
        slope = to_variance * (2 / entries.numel())
        return torch.addcmul(to_mean / entries.numel() - slope * mean, entries, slope)


def _stacked(norms: Sequence[nn.BatchNorm1d], name: str, dtype: torch.dtype) -> Tensor:
    """A parameter or statistic of all norms: [N, channels]."""
    return torch.stack([getattr(norm, name) for norm in norms]).to(dtype)


def _running(norms: Sequence[nn.BatchNorm1d], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Running means and variances of all norms, each [N, channels]."""
    return _stacked(norms, "running_mean", dtype), _stacked(norms, "running_var", dtype)


@torch.no_grad()
def _follow(norms: Sequence[nn.BatchNorm1d], means: Tensor, variances: Tensor, count: Tensor | int) -> None:
    """Let running statistics follow those of a batch [N, channels], whose variances are not corrected for its count."""
    seen = [norm.num_batches_tracked for norm in norms]
    torch._foreach_add_(seen, 1)
    kept = norms[0].running_mean.dtype
    corrected = variances * (count / (count - 1))
    # As torch.nn has it: without a momentum the plain mean over all batches.
    pace = norms[0].momentum
    if pace is None:
        pace = [number.to(kept).reciprocal() for number in seen]
    torch._foreach_lerp_([norm.running_mean for norm in norms], means.to(kept).unbind(), pace)
    torch._foreach_lerp_([norm.running_var for norm in norms], corrected.to(kept).unbind(), pace)
