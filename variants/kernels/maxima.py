"""Similarities of all positions of two images, reduced to their maxima (paper, Eq. 5 to 7 and B.1).

Letters: Q queries, G gallery images, T positions of an image, d width. The operator is registered with
torch.library, so torch.compile keeps it whole. It runs compiled on a CPU (`native`), as Triton kernels on a GPU
(`maxima_triton`), and in plain PyTorch elsewhere; all of them save only the maxima and their positions for the
backward pass, which is sparse.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor

from variants._base import Product
from variants.kernels.choice import path
from variants.kernels.plain import accumulation_dtype

MOST_POSITIONS = 2**15 - 1
"""Positions of maxima are kept in 16 bits."""

Float32Products = Literal["ieee", "tf32x3"]
_float32_products: Float32Products = "ieee"


@contextmanager
def float32_products(kind: Float32Products) -> Iterator[None]:
    """Within it `maxima` of float32 images on a GPU takes its products so, in all threads of the process.

    "ieee": each product and sum in float32, without tensor cores. "tf32x3": on tensor cores, each factor split into
    two numbers of 11 significant bits, of whose four products the smallest is left out: a product is right to about
    2^-21 of itself, where "ieee" gives 2^-24. Other devices and dtypes do not ask. Raises ValueError for another kind.
    """
    global _float32_products
    if kind not in ("ieee", "tf32x3"):
        raise ValueError(f"float32 products are ieee or tf32x3, not {kind!r}")
    before, _float32_products = _float32_products, kind
    try:
        yield
    finally:
        _float32_products = before


def maxima(query: Tensor, gallery: Tensor, prior: Tensor | None = None, *, symmetric_prior: bool = False) -> Tensor:
    """For each position of one image, the best similarity to any position of the other, in both directions.

    query [Q, T, d], gallery [G, T, d] of one dtype: float32, bfloat16, float16 (products summed in float32) or
    float64; prior [T, T] or None: a weight for each (query position, gallery position). Returns [Q, G, 2, T] in
    the dtype that products are summed in: [:, :, 0] for each query position over all gallery positions, [:, :, 1]
    the reverse. `gallery is query` takes half of the products, with the same results; with a prior that is the same
    when transposed, which `symmetric_prior` says and a GPU believes, half of the maxima, too. Under autocast the
    images are cast as for a matrix product.

    Of equal similarities the first position gets the gradient; a NaN similarity makes its maxima NaN. On a CPU
    results are the same to the last bit whatever the number of threads. Raises ValueError if a side is empty or
    shapes or dtypes do not fit, RuntimeError as `native.library` does.
    """
    _check(query, gallery, prior)
    same = gallery is query
    device = query.device.type
    if torch.is_autocast_enabled(device) and query.dtype != torch.float64:
        query = query.to(torch.get_autocast_dtype(device))
        gallery = query if same else gallery.to(query.dtype)
    parts = (query, gallery, prior)
    learns = torch.is_grad_enabled() and any(part is not None and part.requires_grad for part in parts)
    symmetric = symmetric_prior or prior is None
    return _maxima(query, None if same else gallery, prior, symmetric, learns, _float32_products)[0]


def maxima_products(queries: int, gallery: int, tokens: int, width: int, same: bool = False) -> list[Product]:
    """The matrix product that `maxima` cannot do without; `same` needs half of it. Its backward pass needs none."""
    columns = -(-(queries + 1) * tokens // 2) if same else gallery * tokens
    return [Product(queries * tokens, width, columns, forward_only=True)]


def maxima_bytes(tokens: int) -> int:
    """Working memory of scoring one pair: its maxima, their positions, and copies behind the norm.

    Similarities come and go in small blocks.
    """
    return 4 * 12 * tokens


def _check(query: Tensor, gallery: Tensor, prior: Tensor | None) -> None:
    shapes = f"query {tuple(query.shape)}, gallery {tuple(gallery.shape)}"
    if query.dim() != 3 or gallery.dim() != 3 or query.shape[1:] != gallery.shape[1:]:
        raise ValueError(f"query and gallery must be [Q, T, d] and [G, T, d], got {shapes}")
    if query.numel() == 0 or gallery.numel() == 0:
        raise ValueError(f"query and gallery must not be empty, got {shapes}")
    positions = query.shape[1]
    if positions > MOST_POSITIONS:
        raise ValueError(f"at most {MOST_POSITIONS} positions an image, got {shapes}")
    if prior is not None and prior.shape != (positions, positions):
        raise ValueError(f"prior must be [T, T] = {(positions, positions)}, got {tuple(prior.shape)} with {shapes}")
    if query.dtype != gallery.dtype or not query.dtype.is_floating_point:
        raise ValueError(f"query and gallery must share a floating dtype, got {query.dtype} and {gallery.dtype}")


@torch.library.custom_op("pairbench::maxima", mutates_args=())
def _maxima(
    query: Tensor, gallery: Tensor | None, prior: Tensor | None, symmetric: bool, positions: bool, products: str
) -> tuple[Tensor, Tensor]:
    """Maxima and, if `positions` are wanted, these, both [Q, G, 2, T]; gallery None stands for the query itself."""
    other = query if gallery is None else gallery
    best, at = path(query.device, query.dtype).forward(query, other, prior, symmetric, positions, products)
    return best, query.new_empty(0, dtype=torch.int16) if at is None else at


@torch.library.custom_op("pairbench::maxima_backward", mutates_args=())
def _maxima_backward(
    grad: Tensor,
    best: Tensor | None,
    at: Tensor,
    query: Tensor,
    gallery: Tensor | None,
    prior: Tensor | None,
    symmetric: bool,
) -> list[Tensor]:
    """Gradients of those of query, gallery and prior that are not None; with a prior it needs the maxima `best`."""
    other = query if gallery is None else gallery
    to_query, to_gallery, to_prior = path(query.device, query.dtype).backward(
        grad, best, at, query, other, prior, symmetric
    )
    if gallery is None and to_gallery is not None:
        to_query = to_query + to_gallery
    grads = ((to_query, query), (to_gallery, gallery), (to_prior, prior))
    return [found.to(part.dtype) for found, part in grads if part is not None]


@_maxima.register_fake
def _(
    query: Tensor, gallery: Tensor | None, prior: Tensor | None, symmetric: bool, positions: bool, products: str
) -> tuple[Tensor, Tensor]:
    shape = (query.shape[0], query.shape[0] if gallery is None else gallery.shape[0], 2, query.shape[1])
    best = query.new_empty(shape, dtype=accumulation_dtype(query.dtype))
    return best, query.new_empty(shape if positions else 0, dtype=torch.int16)


@_maxima_backward.register_fake
def _(
    grad: Tensor,
    best: Tensor | None,
    at: Tensor,
    query: Tensor,
    gallery: Tensor | None,
    prior: Tensor | None,
    symmetric: bool,
) -> list[Tensor]:
    return [part.new_empty(part.shape) for part in (query, gallery, prior) if part is not None]


def _save(ctx, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    query, gallery, prior, ctx.symmetric, *_ = inputs
    best, at = output
    ctx.mark_non_differentiable(at)
    ctx.save_for_backward(None if prior is None else best, at, query, gallery, prior)


def _differentiate(ctx, grad: Tensor, _: object) -> tuple[Tensor | None, ...]:
    best, at, *inputs = ctx.saved_tensors
    grads = iter(_maxima_backward(grad, best, at, *inputs, ctx.symmetric))
    return *(None if part is None else next(grads) for part in inputs), None, None, None


_maxima.register_autograd(_differentiate, setup_context=_save)
