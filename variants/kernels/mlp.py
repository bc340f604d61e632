"""Batch norm, linear, batch norm, ReLU, linear on very many rows: no pass for a norm, no hidden layer of all rows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from variants.kernels.choice import kernel_name

BLOCK_ENTRIES = 2**21
"""Entries of the hidden layer that are held at a time (8 MB in float32); the backward pass computes it again."""

GPU_BLOCK_ENTRIES = 2**24
"""The same in scoring on a GPU without the Triton kernel: small products leave it idle (64 MB in float32)."""

GPU_TRAINING_ENTRIES = 2**27
"""The same in training on a GPU (512 MB in float32): a hidden layer of no more is kept and not computed again."""


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
            _follow(norm, mean, variance, values.numel())
        else:
            mean, variance = norm.running_mean.to(dtype)[0], norm.running_var.to(dtype)[0]
        scale = norm.weight.to(dtype) * (variance + norm.eps).rsqrt()
        weight = linear.weight.to(dtype)
        bias = linear.bias.to(dtype) + (norm.bias.to(dtype) - mean * scale) * weight.sum()
        kept = linear.weight.dtype
    return exact_linear(values, (weight * scale).to(kept), bias.to(kept))


def normed_mlp(
    rows: Tensor,
    counts: Tensor | None,
    before: nn.BatchNorm1d | None,
    first: nn.Linear,
    norm: nn.BatchNorm1d,
    last: nn.Linear,
) -> Tensor:
    """last(relu(norm(first(before(rows))))) for rows [M, T] -> [M, 1]: the same numbers and gradients up to rounding.

    `before` has one channel for all entries of the rows, or is None; `norm` one for each of first's D outputs.
    counts [M] or None: how many times the batch norms in training are to see each row. Statistics of both follow from
    mean m and covariance C of the rows, since what stands in front of a norm is linear: entries have the mean of m and
    the mean of diag(C) + (m - mean)^2 as variance, outputs W m + b and diag(W C W^T). With them both norms become part
    of first's weights, and blocks of rows are independent of each other. Rows are centred before they are multiplied,
    so that products in 16 bits lose nothing to a mean that is large beside the variation.
    Raises ValueError in training if there is only one row.
    """
    with torch.autocast(rows.device.type, enabled=False):
        dtype = torch.promote_types(rows.dtype, torch.float32)
        moments = _moments(rows.to(dtype), counts) if norm.training else None
        centre, weight, bias = _folded(moments, before, first, norm, dtype)
        if moments is not None:
            rows, centre = moments.centred.to(rows.dtype), None
    if (
        rows.device.type == "cuda"
        and rows.dtype == torch.float32
        and centre is not None
        and not torch.is_grad_enabled()
    ):
        return _scores(rows, centre, weight, bias, last.weight.float(), last.bias.float(), _precision())
    if not torch.is_autocast_enabled(rows.device.type):
        weight, bias = weight.to(rows.dtype), bias.to(rows.dtype)
    inputs = (centre, weight, bias, last.weight, last.bias)
    blocks = rows.split(_rows_at_a_time(rows, len(weight)))
    run = _checkpointed if torch.is_grad_enabled() and not _keeps(rows, len(weight)) else _block
    return torch.cat([run(block, *inputs) for block in blocks]) if len(blocks) > 1 else run(rows, *inputs)


@torch.library.custom_op("pairbench::mlp", mutates_args=())
def _scores(
    rows: Tensor, centre: Tensor, weight: Tensor, bias: Tensor, last_weight: Tensor, last_bias: Tensor, precision: str
) -> Tensor:
    """relu((rows - centre) @ weight^T + bias) @ last_weight^T + last_bias on a GPU, all float32: [M, T] -> [M, 1].

    `precision` of the first product: "tf32x3" (float32 to about the last bit), "tf32", "bf16" or "fp16".
    """
    if kernel_name(rows.device) == "triton":
        from variants.kernels import mlp_triton

        return mlp_triton.scores(rows, centre, weight, bias, last_weight, last_bias, precision)
    dtype = _DTYPES.get(precision, torch.float32)
    weight, bias = weight.to(dtype), bias.to(dtype)
    with torch.autocast(rows.device.type, enabled=False):
        blocks = rows.split(_rows_at_a_time(rows, len(weight)))
        hidden = (F.linear((block - centre).to(dtype), weight, bias).relu_() for block in blocks)
        return torch.cat([exact_linear(block, last_weight, last_bias) for block in hidden])


@_scores.register_fake
def _(rows: Tensor, *_: Tensor | str) -> Tensor:
    return rows.new_empty(len(rows), 1)


_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def _precision() -> str:
    """Of products that score on a GPU: what autocast or TF32 allow, else float32 on its matrix units."""
    if torch.is_autocast_enabled("cuda"):
        dtype = torch.get_autocast_dtype("cuda")
        return next((name for name, kind in _DTYPES.items() if kind == dtype), "tf32x3")
    return "tf32" if torch.backends.cuda.matmul.allow_tf32 else "tf32x3"


class _Moments(NamedTuple):
    """Mean [T] and covariance [T, T] of rows, the rows without their mean [M, T], and how many rows there are."""

    centre: Tensor
    covariance: Tensor
    centred: Tensor
    count: Tensor | int


def _moments(rows: Tensor, counts: Tensor | None) -> _Moments:
    _check_several(len(rows))
    if counts is None:
        total: Tensor | int = len(rows)
        centre = rows.mean(dim=0)
        centred = rows - centre
        return _Moments(centre, centred.T @ centred / total, centred, total)
    share = counts.to(rows.dtype)
    total = share.sum()
    share = share / total
    centre = share @ rows
    centred = rows - centre
    return _Moments(centre, (centred * share[:, None]).T @ centred, centred, total)


def _folded(
    moments: _Moments | None, before: nn.BatchNorm1d | None, first: nn.Linear, norm: nn.BatchNorm1d, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Centre [T], weight [D, T] and bias [D] with which norm(first(before(x))) is weight (x - centre) + bias."""
    weight, bias = first.weight.to(dtype), first.bias.to(dtype)
    centre = weight.new_zeros(weight.shape[1]) if moments is None else moments.centre
    normed = centre
    scale = None
    if before is not None:
        if moments is None:
            mean, variance = before.running_mean.to(dtype), before.running_var.to(dtype)
            centre = mean.expand(len(centre))
        else:
            mean = centre.mean()
            variance = moments.covariance.diagonal().mean() + (centre - mean).square().mean()
            _follow(before, mean, variance, moments.count * len(centre))
        scale = before.weight.to(dtype) * (variance + before.eps).rsqrt()
        normed = (centre - mean) * scale + before.bias.to(dtype)
        weight = weight * scale
    output = torch.addmv(bias, first.weight.to(dtype), normed)
    if moments is None:
        mean, variance = norm.running_mean.to(dtype), norm.running_var.to(dtype)
    else:
        mean, variance = output, ((weight @ moments.covariance) * weight).sum(dim=1).clamp_min(0)
        _follow(norm, mean, variance, moments.count)
    scale = norm.weight.to(dtype) * (variance + norm.eps).rsqrt()
    return centre, weight * scale[:, None], norm.bias.to(dtype) + (output - mean) * scale


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


def _check_several(count: int) -> None:
    if count < 2:
        raise ValueError("batch statistics need more than one row in training")


def _follow(norm: nn.BatchNorm1d, mean: Tensor, variance: Tensor, count: Tensor | int) -> None:
    """Let the running statistics follow those of a batch, of which the variance is not corrected for its count."""
    with torch.no_grad():
        norm.num_batches_tracked += 1
        kept = norm.running_mean.dtype
        # As torch.nn has it: without a momentum the plain mean over all batches.
        pace = norm.num_batches_tracked.to(kept).reciprocal() if norm.momentum is None else norm.momentum
        norm.running_mean.lerp_(mean.to(kept), pace)
        norm.running_var.lerp_((variance * (count / (count - 1))).to(kept), pace)


def _rows_at_a_time(rows: Tensor, width: int) -> int:
    if rows.device.type != "cuda":
        entries = BLOCK_ENTRIES
    else:
        entries = GPU_TRAINING_ENTRIES if torch.is_grad_enabled() else GPU_BLOCK_ENTRIES
    return max(1, entries // width)


def _keeps(rows: Tensor, width: int) -> bool:
    """Whether the hidden layer is small enough to be kept for the backward pass."""
    return rows.device.type == "cuda" and len(rows) * width <= GPU_TRAINING_ENTRIES


def _block(
    rows: Tensor, centre: Tensor | None, weight: Tensor, bias: Tensor, last_weight: Tensor, last_bias: Tensor
) -> Tensor:
    if centre is not None:
        rows = (rows - centre).to(rows.dtype)
    return exact_linear(F.linear(rows, weight, bias).relu_(), last_weight, last_bias)


def _checkpointed(*inputs: Tensor | None) -> Tensor:
    return checkpoint(_block, *inputs, use_reentrant=False, preserve_rng_state=False)
