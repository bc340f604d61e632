"""Similarities of all positions of two images, reduced to their maxima (paper, Eq. 5 to 7 and B.1).

Letters: Q queries, G gallery images, T positions of an image, d width. The operator is registered with
torch.library, so torch.compile keeps it whole. It runs compiled on a CPU (`native`), as a Triton kernel on a GPU
(`maxima_triton`), and in plain PyTorch elsewhere; all of them save only the positions of the maxima for the backward
pass, which is sparse.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from variants._base import Product
from variants.kernels import native, plain
from variants.kernels.plain import accumulation_dtype

MOST_POSITIONS = 2**15 - 1
"""Positions of maxima are kept in 16 bits."""


def maxima(query: Tensor, gallery: Tensor, prior: Tensor | None = None) -> Tensor:
    """For each position of one image, the best similarity to any position of the other, in both directions.

    query [Q, T, d], gallery [G, T, d] of one dtype: float32, bfloat16, float16 (products summed in float32) or
    float64; prior [T, T] or None: a weight for each (query position, gallery position). Returns [Q, G, 2, T] in
    the dtype of the images: [:, :, 0] for each query position over all gallery positions, [:, :, 1] the reverse.
    `gallery is query` takes half of the products, with the same results. Under autocast the images are cast as for
    a matrix product, and maxima come in float32, as they were summed.

    Of equal similarities the first position gets the gradient; a NaN similarity makes its maxima NaN. On a CPU
    results are the same to the last bit whatever the number of threads. Raises ValueError if a side is empty or
    shapes or dtypes do not fit, RuntimeError as `native.library` does.
    """
    _check(query, gallery, prior)
    same = gallery is query
    device = query.device.type
    mixed = torch.is_autocast_enabled(device) and query.dtype != torch.float64
    if mixed:
        query = query.to(torch.get_autocast_dtype(device))
        gallery = query if same else gallery.to(query.dtype)
    return _maxima(query, None if same else gallery, prior, not mixed)[0]


def maxima_products(queries: int, gallery: int, tokens: int, width: int, same: bool = False) -> list[Product]:
    """The matrix product that `maxima` cannot do without; `same` needs half of it. Its backward pass needs none."""
    columns = -(-(queries + 1) * tokens // 2) if same else gallery * tokens
    return [Product(queries * tokens, width, columns, forward_only=True)]


def maxima_bytes(tokens: int) -> int:
    """Working memory of scoring one pair: its maxima, their positions, and copies behind the norm.

    Similarities come and go in small blocks.
    """
    return 4 * 12 * tokens


def kernel_name(device: torch.device) -> str:
    """What runs the operator on a device: "compiled" (a CPU's), "triton" or "plain"."""
    if native.forced() == "plain":
        return "plain"
    if device.type == "cuda":
        return "triton"
    return "compiled" if device.type == "cpu" and native.library() is not None else "plain"


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
def _maxima(query: Tensor, gallery: Tensor | None, prior: Tensor | None, rounded: bool) -> tuple[Tensor, Tensor]:
    """Maxima and their positions, both [Q, G, 2, T]; gallery None stands for the query itself.

    Maxima are `rounded` to the dtype of the images, or come in the one that products are summed in.
    """
    best, at = _path(query).forward(query, query if gallery is None else gallery, prior)
    return best.to(query.dtype) if rounded else best, at


@torch.library.custom_op("pairbench::maxima_backward", mutates_args=())
def _maxima_backward(
    grad: Tensor, at: Tensor, query: Tensor, gallery: Tensor | None, prior: Tensor | None
) -> list[Tensor]:
    """Gradients of those of query, gallery and prior that are not None."""
    other = query if gallery is None else gallery
    to_query, to_gallery, to_prior = _path(query).backward(grad, at, query, other, prior)
    if gallery is None and to_gallery is not None:
        to_query = to_query + to_gallery
    grads = ((to_query, query), (to_gallery, gallery), (to_prior, prior))
    return [found.to(part.dtype) for found, part in grads if part is not None]


def _path(query: Tensor) -> ModuleType:
    """The module whose `forward` and `backward` run for tensors like this one."""
    name = kernel_name(query.device) if query.device.type != "cuda" or query.dtype != torch.float64 else "plain"
    if name == "triton":
        from variants.kernels import maxima_triton

        return maxima_triton
    return native if name == "compiled" else plain


@_maxima.register_fake
def _(query: Tensor, gallery: Tensor | None, prior: Tensor | None, rounded: bool) -> tuple[Tensor, Tensor]:
    shape = (query.shape[0], query.shape[0] if gallery is None else gallery.shape[0], 2, query.shape[1])
    dtype = query.dtype if rounded else accumulation_dtype(query.dtype)
    return query.new_empty(shape, dtype=dtype), query.new_empty(shape, dtype=torch.int16)


@_maxima_backward.register_fake
def _(grad: Tensor, at: Tensor, query: Tensor, gallery: Tensor | None, prior: Tensor | None) -> list[Tensor]:
    return [part.new_empty(part.shape) for part in (query, gallery, prior) if part is not None]


def _save(ctx, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(output[1], *inputs[:3])


def _differentiate(ctx, grad: Tensor, _: object) -> tuple[Tensor | None, ...]:
    at, *inputs = ctx.saved_tensors
    grads = iter(_maxima_backward(grad, at, *inputs))
    return *(None if part is None else next(grads) for part in inputs), None


_maxima.register_autograd(_differentiate, setup_context=_save)
