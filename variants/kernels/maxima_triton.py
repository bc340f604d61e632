"""The matching operator on a GPU: product, prior, both maxima and their positions in one Triton kernel.

One program a pair of images; nothing of size T x T leaves the chip.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from variants.kernels import plain

backward = plain.backward


def forward(query: Tensor, gallery: Tensor, prior: Tensor | None) -> tuple[Tensor, Tensor]:
    """As `plain.forward`, for float32, bfloat16 and float16."""
    query, gallery = query.contiguous(), gallery.contiguous()
    (queries, positions, width), images = query.shape, len(gallery)
    best = torch.empty(queries, images, 2, positions, dtype=torch.float32, device=query.device)
    at = torch.empty(best.shape, dtype=torch.int16, device=query.device)
    weight = query if prior is None else prior.float().contiguous()
    side = min(64, max(16, triton.next_power_of_2(positions)))
    depth = min(64 if query.element_size() == 2 else 32, max(16, triton.next_power_of_2(width)))
    _maxima_kernel[(queries * images,)](
        query, gallery, weight, best, at, images, positions, width, prior is not None, side, depth
    )  # fmt: skip
    return best, at


@triton.jit
def _first_max(value, position, axis: tl.constexpr, none: tl.constexpr):
    """Maxima of a tile along an axis and the first position of each; NaN is larger than all."""
    nan = value != value
    any_nan = tl.max(nan.to(tl.int32), axis) > 0
    top = tl.max(tl.where(nan, float("-inf"), value), axis)
    hit = (nan & tl.expand_dims(any_nan, axis)) | (
        (value == tl.expand_dims(top, axis)) & ~tl.expand_dims(any_nan, axis)
    )
    at = tl.min(tl.where(hit, position, none), axis)
    return tl.where(any_nan, float("nan"), top), at


@triton.jit
def _keep_larger(best, best_at, value, value_at):
    """Running maxima: the earlier of equals stays, NaN wins over all but an earlier NaN."""
    larger = ((value > best) | (value != value)) & (best == best)
    return tl.where(larger, value, best), tl.where(larger, value_at, best_at)


@triton.jit
def _maxima_kernel(
    query, gallery, prior, best, at, images, positions, width,
    weighted: tl.constexpr, side: tl.constexpr, depth: tl.constexpr,
):  # fmt: skip
    pair = tl.program_id(0).to(tl.int64)
    query += pair // images * positions * width
    gallery += pair % images * positions * width
    best += pair * 2 * positions
    at += pair * 2 * positions
    step = tl.arange(0, depth)
    for top in range(0, positions, side):
        t = top + tl.arange(0, side)
        row_best = tl.full([side], float("-inf"), tl.float32)
        row_at = tl.zeros([side], tl.int32)
        for left in range(0, positions, side):
            s = left + tl.arange(0, side)
            value = tl.zeros([side, side], tl.float32)
            for k in range(0, width, depth):
                inside = k + step < width
                a = tl.load(query + t[:, None] * width + (k + step)[None, :],
                            mask=(t < positions)[:, None] & inside[None, :], other=0.0)  # fmt: skip
                b = tl.load(gallery + s[None, :] * width + (k + step)[:, None],
                            mask=(s < positions)[None, :] & inside[:, None], other=0.0)  # fmt: skip
                value = tl.dot(a, b, value, input_precision="ieee")
            inside = (t < positions)[:, None] & (s < positions)[None, :]
            if weighted:
                value *= tl.load(prior + t[:, None] * positions + s[None, :], mask=inside, other=0.0)
            value = tl.where(inside, value, float("-inf"))
            found, found_at = _first_max(value, s[None, :], 1, 32767)
            row_best, row_at = _keep_larger(row_best, row_at, found, found_at)
            found, found_at = _first_max(value, t[:, None], 0, 32767)
            column = positions + s
            if top > 0:  # the outputs themselves hold the running maxima of this program's columns
                old = tl.load(best + column, mask=s < positions, other=0.0)
                old_at = tl.load(at + column, mask=s < positions, other=0).to(tl.int32)
                found, found_at = _keep_larger(old, old_at, found, found_at)
            tl.store(best + column, found, mask=s < positions)
            tl.store(at + column, found_at.to(tl.int16), mask=s < positions)
        tl.store(best + t, row_best, mask=t < positions)
        tl.store(at + t, row_at.to(tl.int16), mask=t < positions)
        tl.debug_barrier()
