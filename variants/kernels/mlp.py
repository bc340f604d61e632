"""Linear, batch norm, ReLU, linear on very many rows, without ever holding the hidden layer of all of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

BLOCK_ENTRIES = 2**21
"""Entries of the hidden layer that are held at a time (8 MB in float32); the backward pass computes it again."""


def exact_linear(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer in the dtype of its weights, also under autocast: for scores, which rounded would become ties."""
    with torch.autocast(inputs.device.type, enabled=False):
        return F.linear(inputs.to(weight.dtype), weight, bias)


def normed_mlp(rows: Tensor, counts: Tensor | None, first: nn.Linear, norm: nn.BatchNorm1d, last: nn.Linear) -> Tensor:
    """last(relu(norm(first(rows)))) for rows [M, T] -> [M, 1]: the same numbers and gradients up to rounding.

    counts [M] or None: how many times the batch norm in training is to see each row. The norm's statistics follow
    from those of the rows, since the layer in front of it is linear, mean W m + b and variance diag(W C W^T); with
    them the norm becomes part of that layer's weights, and blocks of rows are independent of each other.
    Raises ValueError in training if there is only one row.
    """
    with torch.autocast(rows.device.type, enabled=False):
        dtype = torch.promote_types(rows.dtype, torch.float32)
        weight, bias = first.weight.to(dtype), first.bias.to(dtype)
        mean, variance = _statistics(rows.to(dtype), counts, weight, bias, norm)
        scale = norm.weight.to(dtype) * (variance + norm.eps).rsqrt()
        weight, bias = weight * scale[:, None], norm.bias.to(dtype) + (bias - mean) * scale
    if not torch.is_autocast_enabled(rows.device.type):
        weight, bias = weight.to(rows.dtype), bias.to(rows.dtype)
    run = _checkpointed if torch.is_grad_enabled() else _block
    blocks = rows.split(max(1, BLOCK_ENTRIES // len(weight)))
    return torch.cat([run(block, weight, bias, last.weight, last.bias) for block in blocks])


def _statistics(
    rows: Tensor, counts: Tensor | None, weight: Tensor, bias: Tensor, norm: nn.BatchNorm1d
) -> tuple[Tensor, Tensor]:
    """Mean and variance [D] that `norm` applies to rows @ weight^T + bias; in training its running ones follow."""
    if not norm.training:
        return norm.running_mean.to(weight.dtype), norm.running_var.to(weight.dtype)
    if len(rows) < 2:
        raise ValueError("batch statistics need more than one row in training")
    share = torch.ones(len(rows), dtype=rows.dtype, device=rows.device) if counts is None else counts.to(rows.dtype)
    total = share.sum()
    share = share / total
    centre = share @ rows
    centred = rows - centre
    covariance = (centred * share[:, None]).T @ centred
    mean = torch.addmv(bias, weight, centre)
    variance = ((weight @ covariance) * weight).sum(dim=1).clamp_min(0)
    with torch.no_grad():
        norm.num_batches_tracked += 1
        # As torch.nn has it: without a momentum the plain mean over all batches.
        pace = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), pace)
        norm.running_var.lerp_((variance * (total / (total - 1))).to(norm.running_var.dtype), pace)
    return mean, variance


def _block(rows: Tensor, weight: Tensor, bias: Tensor, last_weight: Tensor, last_bias: Tensor) -> Tensor:
    return exact_linear(F.linear(rows, weight, bias).relu_(), last_weight, last_bias)


def _checkpointed(*inputs: Tensor) -> Tensor:
    return checkpoint(_block, *inputs, use_reentrant=False, preserve_rng_state=False)
