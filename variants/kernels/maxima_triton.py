"""The matching operator on a GPU: product, prior, both maxima and their positions in one Triton kernel.

One program a pair of images; nothing of size T x T leaves the chip. Packages that fuse a product with maxima for text
retrieval (late-interaction-kernels 0.4, flash-maxsim 0.3) cannot stand in: they give the sum of one direction's maxima,
where the heads need every maximum of both, and they take no prior.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from variants.kernels import plain

backward = plain.backward


def match_one_pair(device: torch.device) -> None:
    """Launch what a run launches, for one pair of images."""
    forward(*torch.ones(2, 1, 16, 16, device=device), None)


def forward(
    query: Tensor,
    gallery: Tensor,
    prior: Tensor | None,
    symmetric: bool = False,
    positions: bool = True,
    products: str = "ieee",
) -> tuple[Tensor, Tensor]:
    """As `plain.forward`, for float32, bfloat16 and float16."""
    same = gallery is query
    query, gallery = query.contiguous(), gallery.contiguous()
    (queries, length, width), images = query.shape, len(gallery)
    best = torch.empty(queries, images, 2, length, dtype=torch.float32, device=query.device)
    at = torch.empty(best.shape, dtype=torch.int16, device=query.device)
    weight = query if prior is None else prior.float().contiguous()
    side = min(64, max(16, triton.next_power_of_2(length)))
    depth = min(64 if query.element_size() == 2 else 32, max(16, triton.next_power_of_2(width)))
    _maxima_kernel[(queries * images,)](
        query, gallery, weight, best, at, images, length, width, prior is not None, same, side, depth
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
def _update(best, at, where, value, value_at, inside, first):
    """Running maxima that the outputs themselves hold."""
    if not first:
        old = tl.load(best + where, mask=inside, other=0.0)
        old_at = tl.load(at + where, mask=inside, other=0).to(tl.int32)
        value, value_at = _keep_larger(old, old_at, value, value_at)
    tl.store(best + where, value, mask=inside)
    tl.store(at + where, value_at.to(tl.int16), mask=inside)


@triton.jit
def _maxima_kernel(
    query, gallery, prior, best, at, images, positions, width,
    weighted: tl.constexpr, same: tl.constexpr, side: tl.constexpr, depth: tl.constexpr,
):  # fmt: skip
    pair = tl.program_id(0).to(tl.int64)
    i, j = pair // images, pair % images
    if same and j < i:  # written by the program of (j, i), whose similarities these are too, turned
        return
    query += i * positions * width
    gallery += j * positions * width
    turned = (j * images + i) * 2 * positions
    pair *= 2 * positions
    step = tl.arange(0, depth)
    for top in range(0, positions, side):
        t = top + tl.arange(0, side)
        row_best = tl.full([side], float("-inf"), tl.float32)
        row_at = tl.zeros([side], tl.int32)
        turned_best, turned_at = row_best, row_at
        for left in range(0, positions, side):
            s = left + tl.arange(0, side)
            product = tl.zeros([side, side], tl.float32)
            for k in range(0, width, depth):
                inside = k + step < width
                a = tl.load(query + t[:, None] * width + (k + step)[None, :],
                            mask=(t < positions)[:, None] & inside[None, :], other=0.0)  # fmt: skip
                b = tl.load(gallery + s[None, :] * width + (k + step)[:, None],
                            mask=(s < positions)[None, :] & inside[:, None], other=0.0)  # fmt: skip
                product = tl.dot(a, b, product, input_precision="ieee")
            inside = (t < positions)[:, None] & (s < positions)[None, :]
            value = product
            if weighted:
                value *= tl.load(prior + t[:, None] * positions + s[None, :], mask=inside, other=0.0)
            value = tl.where(inside, value, float("-inf"))
            row, at_row = _first_max(value, s[None, :], 1, 32767)
            row_best, row_at = _keep_larger(row_best, row_at, row, at_row)
            column, at_column = _first_max(value, t[:, None], 0, 32767)
            _update(best, at, pair + positions + s, column, at_column, s < positions, top == 0)
            if same and i != j:
                if weighted:
                    value = product * tl.load(prior + s[None, :] * positions + t[:, None], mask=inside, other=0.0)
                    value = tl.where(inside, value, float("-inf"))
                    row, at_row = _first_max(value, s[None, :], 1, 32767)
                    column, at_column = _first_max(value, t[:, None], 0, 32767)
                turned_best, turned_at = _keep_larger(turned_best, turned_at, row, at_row)
                _update(best, at, turned + s, column, at_column, s < positions, top == 0)
        tl.store(best + pair + t, row_best, mask=t < positions)
        tl.store(at + pair + t, row_at.to(tl.int16), mask=t < positions)
        if same and i != j:
            tl.store(best + turned + positions + t, turned_best, mask=t < positions)
            tl.store(at + turned + positions + t, turned_at.to(tl.int16), mask=t < positions)
        tl.debug_barrier()
