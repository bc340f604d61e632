"""The matching operator on a GPU of compute capability 8.0 or higher: how its Triton kernels are launched.

Letters: Q queries, G gallery images, T positions of an image, d width.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from variants.kernels.maxima_triton_backward import images_kernel, prior_kernel, weights_kernel
from variants.kernels.maxima_triton_forward import forward_kernel

SIDE = 64
"""Positions a side of a tile of similarities at most; a matrix instruction takes at least 16."""

MOST_TILES = 3
"""Tiles a side of the group that a program of the forward pass multiplies at once, at most."""

FUSED = {"enable_fp_fusion": True}
"""A product and its sum are rounded once, whatever a version of Triton does unless told."""

PRIOR_PARTS = 32
"""Parts that the prior's gradient is summed in at most; fixed, so that its bits do not depend on the GPU."""


@dataclass(frozen=True)
class ForwardTiling:
    """Sizes of one forward launch: tiles of side x side similarities, `depth` entries of the images at a time."""

    side: int
    depth: int
    rows: int
    columns: int
    num_warps: int = 8
    num_stages: int = 3


@dataclass(frozen=True)
class BackwardTiling:
    """Sizes of one backward launch: `side` positions of an image times `wide` entries, `depth` others at a time."""

    side: int
    depth: int
    wide: int
    num_warps: int
    num_stages: int


def forward_tiling(length: int, width: int, dtype: torch.dtype, capability: tuple[int, int]) -> ForwardTiling:
    """For T and d. Accumulators of 3 x 3 tiles fill the registers, which only Hopper's instructions leave alone."""
    side = _power(length, SIDE)
    tiles = triton.cdiv(length, side)
    rows = triton.cdiv(tiles, triton.cdiv(tiles, MOST_TILES))
    large = dtype != torch.float32 and capability == (9, 0)
    return ForwardTiling(side, _power(width, 64 if large else 32), rows, rows if large else 1)


def backward_tiling(length: int, width: int, dtype: torch.dtype) -> BackwardTiling:
    """For T and d."""
    side = _power(length, SIDE)
    if dtype == torch.float32:
        return BackwardTiling(side, _power(length, 32), _power(width, 128), 8, 2)
    return BackwardTiling(side, side, _power(width, 256), 8, 3)


def _power(size: int, most: int) -> int:
    return min(most, max(16, triton.next_power_of_2(size)))


def match_one_pair(device: torch.device) -> None:
    """Launch what a training run launches, for one pair of images, and wait for it."""
    query, gallery = torch.ones(2, 1, 16, 16, dtype=torch.bfloat16, device=device)
    prior = torch.ones(16, 16, device=device)
    best, at = forward(query, gallery, prior)
    backward(torch.ones_like(best), best, at, query, gallery, prior)
    if not bool((best == 16).all()):
        raise RuntimeError("it compiles, but gives wrong numbers")


def forward(
    query: Tensor,
    gallery: Tensor,
    prior: Tensor | None,
    symmetric: bool = False,
    positions: bool = True,
    products: str = "ieee",
) -> tuple[Tensor, Tensor | None]:
    """As `plain.forward`, for float32, bfloat16 and float16. With itself and `symmetric` it takes half of the work."""
    mirrored = gallery is query and (symmetric or prior is None)
    query, gallery = query.contiguous(), gallery.contiguous()
    (queries, length, width), images = query.shape, len(gallery)
    best = query.new_empty((queries, images, 2, length), dtype=torch.float32)
    at = best.new_empty(best.shape, dtype=torch.int16) if positions else None
    tiling = forward_tiling(length, width, query.dtype, _capability(query))
    with _current(query):
        forward_kernel[(queries * images,)](
            query, gallery, best if prior is None else _weights_of(prior), best, best if at is None else at,
            images, length, width, prior is not None, mirrored, positions, tiling.side, tiling.depth, tiling.rows,
            tiling.columns, products if query.dtype == torch.float32 else "ieee",
            num_warps=tiling.num_warps, num_stages=tiling.num_stages, **FUSED,
        )  # fmt: skip
    return best, at


def backward(
    grad: Tensor,
    best: Tensor | None,
    at: Tensor,
    query: Tensor,
    gallery: Tensor,
    prior: Tensor | None,
    symmetric: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """As `plain.backward`, always in one order; half dtypes are rounded as in the gradient of a matrix product.

    Float32 images are multiplied as "tf32x3" (`float32_products`). If `gallery is query` and the prior is symmetric,
    the gradient of both roles comes first and None for gallery.
    """
    same = gallery is query
    mirrored = same and (symmetric or prior is None)
    query, gallery = query.contiguous(), gallery.contiguous()
    length, images = query.shape[1], len(gallery)
    grad, at = grad.float().contiguous(), at.contiguous()
    weight = None if prior is None else _weights_of(prior)
    weights = torch.empty_like(grad)
    with _current(query):
        weights_kernel[(len(query) * images,)](
            grad, at, grad if weight is None else weight, weights, images, length, weight is not None, mirrored,
            _power(length, 256), num_warps=4, **FUSED,
        )  # fmt: skip
        to_query = _to_images(weights, at, query, gallery, 0, torch.float32 if same and not mirrored else query.dtype)
        to_gallery = None if mirrored else _to_images(weights, at, gallery, query, 1, to_query.dtype)
        to_prior = None if weight is None else _to_prior(grad, best, at, query, gallery, weight)
    return to_query, to_gallery, to_prior


def _to_images(
    weights: Tensor, at: Tensor, images: Tensor, others: Tensor, direction: int, dtype: torch.dtype
) -> Tensor:
    """The gradient of images [., T, d] that are the queries (`direction` 0) or the gallery (1) of `weights`."""
    (count, length, width), total = images.shape, weights.shape[1]
    out = torch.empty_like(images, dtype=dtype)
    tiling = backward_tiling(length, width, images.dtype)
    grid = (count * triton.cdiv(length, tiling.side), triton.cdiv(width, tiling.wide))
    images_kernel[grid](
        weights, at, others, out, len(others), *((total, 1) if direction == 0 else (1, total)), length, width,
        direction, tiling.side, tiling.depth, tiling.wide, "tf32x3" if images.dtype == torch.float32 else "ieee",
        num_warps=tiling.num_warps, num_stages=tiling.num_stages, **FUSED,
    )  # fmt: skip
    return out


def _to_prior(grad: Tensor, best: Tensor, at: Tensor, query: Tensor, gallery: Tensor, prior: Tensor) -> Tensor:
    """The gradient of the prior [T, T]."""
    (_, length, width), pairs = query.shape, len(query) * len(gallery)
    share = max(16, triton.cdiv(pairs, PRIOR_PARTS))
    parts, block, span = triton.cdiv(pairs, share), _power(length, 32), _power(length, 256)
    out = grad.new_empty((parts, 2, length, length))
    prior_kernel[(parts, 2 * triton.cdiv(length, block), triton.cdiv(length, span))](
        grad, best.contiguous(), at, query, gallery, prior, out, pairs, len(gallery), share, length, width,
        block, span, _power(width, 64), num_warps=8, **FUSED,
    )  # fmt: skip
    return out.flatten(0, 1).sum(dim=0)


def _weights_of(prior: Tensor) -> Tensor:
    return prior.float().contiguous()


def _capability(tensor: Tensor) -> tuple[int, int]:
    """That of the tensor's GPU; of the newest for Triton's interpreter, which runs on a CPU."""
    return torch.cuda.get_device_capability(tensor.device) if tensor.is_cuda else (9, 0)


def _current(tensor: Tensor) -> AbstractContextManager:
    """Triton launches on the current GPU, whichever holds the tensors."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
