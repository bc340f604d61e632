"""The matching operator in plain PyTorch: the reference, and what runs where nothing faster does.

Letters: Q queries, G gallery images, T positions of an image, d width.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK_BYTES = 16 * 2**20
"""Bound on the similarities held at a time; one pair of images is always held."""

GPU_BLOCK_BYTES = 2**30
"""That bound on a GPU, where few large steps are fast, and the one on rows that the backward pass gathers at a time."""


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """What products of this dtype are summed in: float32, or float64 for itself."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def block_bytes(device: torch.device) -> int:
    """Bound on what is held at a time on a device."""
    return GPU_BLOCK_BYTES if device.type == "cuda" else BLOCK_BYTES


def block_images(positions: int, element_size: int, device: torch.device) -> int:
    """Images a side of one block, so that its similarities and their weighted copy stay within `block_bytes`."""
    return max(1, int((block_bytes(device) / (2 * positions**2 * element_size)) ** 0.5))


def dense(query: Tensor, gallery: Tensor, prior: Tensor | None) -> Tensor:
    """The maxima [Q, G, 2, T] by the book, through all Q x G x T x T similarities at once (paper, Eq. 5 to 7)."""
    similarities = torch.einsum("qtd,gsd->qgts", query, gallery)
    if prior is not None:
        similarities = similarities * prior
    return torch.stack((similarities.max(dim=3).values, similarities.max(dim=2).values), dim=2)


def aligned(query: Tensor, gallery: Tensor, prior: Tensor | None) -> tuple[Tensor, Tensor]:
    """The maxima of n pairs alone, and their positions: query, gallery [n, T, d], pair i of both -> two [n, 2, T]."""
    dtype = accumulation_dtype(query.dtype)
    similarities = torch.einsum("ntd,nsd->nts", query.to(dtype), gallery.to(dtype))
    if prior is not None:
        similarities = similarities * prior
    both = similarities.max(dim=2), similarities.max(dim=1)
    return torch.stack([found.values for found in both], dim=1), torch.stack([found.indices for found in both], dim=1)


def forward(
    query: Tensor,
    gallery: Tensor,
    prior: Tensor | None,
    symmetric: bool = False,
    positions: bool = True,
    products: str = "ieee",
) -> tuple[Tensor, Tensor | None]:
    """query [Q, T, d], gallery [G, T, d], prior [T, T] -> maxima [Q, G, 2, T] and their positions, int16, if wanted.

    Maxima come in the dtype that products are summed in. `symmetric` says that the prior is the same when transposed
    (or None), and `products` how float32 products are taken on tensor cores; both may be left unused.
    """
    (queries, length, _), images = query.shape, len(gallery)
    dtype = accumulation_dtype(query.dtype)
    best = torch.empty(queries, images, 2, length, dtype=dtype, device=query.device)
    at = torch.empty(best.shape, dtype=torch.int16, device=query.device) if positions else None
    weight = None if prior is None else prior.to(dtype)
    side = block_images(length, best.element_size(), query.device)
    same = gallery is query
    with torch.autocast(query.device.type, enabled=False):
        for top in range(0, queries, side):
            rows = slice(top, top + side)
            for left in range(top if same else 0, images, side):
                columns = slice(left, left + side)
                block = _similarities(query[rows], gallery[columns], dtype)
                if same and left > top:  # pairs (j, i), whose query positions are the block's last axis
                    turned = block if weight is None else block * weight.T
                    _reduce(turned, (2, 3), best, at, (columns, rows))
                if weight is not None:
                    block *= weight
                _reduce(block, (3, 2), best, at, (rows, columns))
    return best, at


def _similarities(query: Tensor, gallery: Tensor, dtype: torch.dtype) -> Tensor:
    """Products [q, g, T, T] in `dtype`, on tensor cores where there are some for the dtype of the images."""
    if not _multiplied_as_they_are(query):
        return torch.einsum("qtd,gsd->qgts", query.to(dtype), gallery.to(dtype))
    flat = torch.mm(query.flatten(0, 1), gallery.flatten(0, 1).T, out_dtype=dtype)
    return flat.view(*query.shape[:2], *gallery.shape[:2]).transpose(1, 2)


def _multiplied_as_they_are(images: Tensor) -> bool:
    """Whether this GPU multiplies images in their dtype and PyTorch gives the sums in float32, not rounded back."""
    least = {torch.float16: (7, 0), torch.bfloat16: (8, 0)}.get(images.dtype)
    if not images.is_cuda or least is None or torch.version.hip is not None or not hasattr(torch.ops.aten.mm, "dtype"):
        return False
    return torch.cuda.get_device_capability(images.device) >= least


def _reduce(block: Tensor, axes: tuple[int, int], best: Tensor, at: Tensor | None, pairs: tuple[slice, slice]) -> None:
    """Maxima over an axis of a block for each direction, and their first positions, into `pairs` of [Q, G, 2, T].

    The block's first two axes are the images of `pairs`, in whichever order.
    """
    turned = axes[0] < axes[1]
    for direction, axis in enumerate(axes):
        found = block.max(dim=axis)  # the first of equals; NaN if there is one
        best[*pairs, direction] = found.values.transpose(0, 1) if turned else found.values
        if at is not None:
            at[*pairs, direction] = (found.indices.transpose(0, 1) if turned else found.indices).to(at.dtype)


def backward(
    grad: Tensor,
    best: Tensor | None,
    at: Tensor,
    query: Tensor,
    gallery: Tensor,
    prior: Tensor | None,
    symmetric: bool = False,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Gradients of query, gallery and prior for `grad` and `at` [Q, G, 2, T], in the dtype products are summed in.

    Sparse: each maximum sends its gradient to one query row, one gallery row and one prior entry. On a GPU the
    order in which they are added up is fixed under torch.use_deterministic_algorithms alone. The maxima `best` and
    `symmetric`, as for `forward`, may be left unused.
    """
    dtype = accumulation_dtype(query.dtype)
    grad_query = torch.zeros(query.shape, dtype=dtype, device=query.device)
    grad_gallery = torch.zeros(gallery.shape, dtype=dtype, device=query.device)
    grad_prior = None if prior is None else torch.zeros(prior.shape, dtype=dtype, device=query.device)
    weight = None if prior is None else prior.to(dtype)
    pairs = max(1, block_bytes(query.device) // (4 * query[0].numel() * grad_query.element_size()))
    columns = min(len(gallery), pairs)
    with torch.autocast(query.device.type, enabled=False):
        for top in range(0, len(query), pairs // columns):
            rows = slice(top, top + pairs // columns)
            for left in range(0, len(gallery), columns):
                part = slice(left, left + columns)
                for direction in (0, 1):
                    _send_back(
                        grad[rows, part, direction].to(dtype),
                        at[rows, part, direction].long(),
                        direction,
                        (query[rows].to(dtype), gallery[part].to(dtype), weight),
                        (grad_query[rows], grad_gallery[part], grad_prior),
                    )
    return grad_query, grad_gallery, grad_prior


def _send_back(
    grad: Tensor,
    found: Tensor,
    direction: int,
    inputs: tuple[Tensor, Tensor, Tensor | None],
    grads: tuple[Tensor, Tensor, Tensor | None],
) -> None:
    """Query [q, T, d] and gallery images [g, T, d], one direction; `grad`, `found` [q, g, T]. Adds to `grads`."""
    (query, gallery, prior), (grad_query, grad_gallery, grad_prior) = inputs, grads
    queries, images, positions = found.shape
    own = torch.arange(positions, device=grad.device).expand_as(found)
    t, s = (own, found) if direction == 0 else (found, own)
    entry = (t * positions + s).flatten()
    t = (t + positions * torch.arange(queries, device=grad.device)[:, None, None]).flatten()
    s = (s + positions * torch.arange(images, device=grad.device)[:, None]).flatten()
    grad = grad.flatten()
    query_rows, gallery_rows = query.flatten(0, 1)[t], gallery.flatten(0, 1)[s]
    if prior is not None:
        grad_prior.view(-1).index_add_(0, entry, grad * (query_rows * gallery_rows).sum(dim=1))
        grad = grad * prior.flatten()[entry]
    grad_query.flatten(0, 1).index_add_(0, t, gallery_rows * grad[:, None])
    grad_gallery.flatten(0, 1).index_add_(0, s, query_rows * grad[:, None])
