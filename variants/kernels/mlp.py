"""Batch norm, linear, batch norm, ReLU, linear on very many rows: no pass for a norm, no hidden layer of all rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from variants.kernels.choice import kernel_name
from variants.kernels.linear import Mlp, exact_linear, fold, moments_of, shares_of

BLOCK_ENTRIES = 2**21
"""Entries of the hidden layer that are held at a time (8 MB in float32); the backward pass computes it again."""

GPU_BLOCK_ENTRIES = 2**24
"""The same in scoring on a GPU without the Triton kernel: small products leave it idle (64 MB in float32)."""

GPU_TRAINING_ENTRIES = 2**27
"""The same in training on a GPU (512 MB in float32): a hidden layer of no more is kept and not computed again."""


def normed_mlps(rows: Iterable[Tensor], counts: Tensor | None, mlps: Sequence[Mlp]) -> Iterator[Tensor]:
    """Each MLP of its own rows, all [M, T] -> [M, 1]: the numbers and gradients of its layers up to rounding.

    counts [M] or None: how many times the batch norms in training are to see each row, whichever MLP's. Statistics of
    both follow from mean m and covariance C of the rows, since what stands in front of a norm is linear: entries have
    the mean of m and the mean of diag(C) + (m - mean)^2 as variance, outputs W m + b and diag(W C W^T). With them both
    norms become part of first's weights, and blocks of rows are independent of each other. Rows are centred before they
    are multiplied, so that products in 16 bits lose nothing to a mean that is large beside the variation.
    In evaluation mode rows are asked for when those before them are done with. The MLPs have to agree as for `fold`,
    and in their mode. Raises ValueError in training if there is only one row.
    """
    dtype = torch.promote_types(mlps[0].first.weight.dtype, torch.float32)
    if mlps[0].norm.training:
        shares = None if counts is None else shares_of(counts, dtype)
        moments = [moments_of(part.to(dtype), shares) for part in rows]
        rows = [part.centred for part in moments]
        _, weights, biases = fold(mlps, moments, dtype)
        centres: Iterable[Tensor | None] = [None] * len(mlps)
    else:
        centres, weights, biases = (values.unbind() for values in fold(mlps, None, dtype))
    ahead = iter(rows)
    for mlp, *folded in zip(mlps, centres, weights, biases, strict=True):
        yield _folded_mlp(next(ahead).to(dtype), *folded, mlp.last)


def _folded_mlp(rows: Tensor, centre: Tensor | None, weight: Tensor, bias: Tensor, last: nn.Linear) -> Tensor:
    """last(relu(weight (rows - centre) + bias)), [M, T] -> [M, 1]; centre None is 0."""
    if (
        rows.device.type == "cuda"
        and rows.dtype == torch.float32
        and centre is not None
        and not torch.is_grad_enabled()
    ):
        return _scores(rows, centre, weight, bias, last.weight.float(), last.bias.float(), _precision())
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
