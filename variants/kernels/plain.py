"""The matching operator in plain PyTorch: the reference, and what runs where nothing faster does.

Letters: Q queries, G gallery images, T positions of an image, d width.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK_BYTES = 16 * 2**20
"""Bound on the similarities held at a time; one pair of images is always held."""


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """What products of this dtype are summed in: float32, or float64 for itself."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def block_images(positions: int, element_size: int) -> int:
    """Images a side of one block, so that its similarities and their weighted copy stay within BLOCK_BYTES."""
    return max(1, int((BLOCK_BYTES / (2 * positions**2 * element_size)) ** 0.5))


def dense(query: Tensor, gallery: Tensor, prior: Tensor | None) -> Tensor:
    """The maxima [Q, G, 2, T] by the book, through all Q x G x T x T similarities at once (paper, Eq. 5 to 7)."""
    similarities = torch.einsum("qtd,gsd->qgts", query, gallery)
    if prior is not None:
        similarities = similarities * prior
    return torch.stack((similarities.max(dim=3).values, similarities.max(dim=2).values), dim=2)


def forward(query: Tensor, gallery: Tensor, prior: Tensor | None) -> tuple[Tensor, Tensor]:
    """query [Q, T, d], gallery [G, T, d], prior [T, T] -> maxima [Q, G, 2, T] and their positions, int16.

    Maxima come in the dtype that products are summed in.
    """
    (queries, positions, _), images = query.shape, len(gallery)
    dtype = accumulation_dtype(query.dtype)
    best = torch.empty(queries, images, 2, positions, dtype=dtype, device=query.device)
    at = torch.empty(best.shape, dtype=torch.int16, device=query.device)
    weight = None if prior is None else prior.to(dtype)
    side = block_images(positions, best.element_size())
    with torch.autocast(query.device.type, enabled=False):
        for top in range(0, queries, side):
            rows = query[top : top + side].to(dtype)
            for left in range(0, images, side):
                block = torch.einsum("qtd,gsd->qgts", rows, gallery[left : left + side].to(dtype))
                if weight is not None:
                    block *= weight
                for direction, axis in enumerate((3, 2)):
                    found = block.max(dim=axis)  # the first of equals; NaN if there is one
                    best[top : top + side, left : left + side, direction] = found.values
                    at[top : top + side, left : left + side, direction] = found.indices
    return best, at


def backward(
    grad: Tensor, at: Tensor, query: Tensor, gallery: Tensor, prior: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Gradients of query, gallery and prior for `grad` and `at` [Q, G, 2, T], in the dtype products are summed in.

    Sparse: each maximum sends its gradient to one query row, one gallery row and one prior entry. On a GPU the
    order in which they are added up is not fixed.
    """
    dtype = accumulation_dtype(query.dtype)
    grad_query = torch.zeros(query.shape, dtype=dtype, device=query.device)
    grad_gallery = torch.zeros(gallery.shape, dtype=dtype, device=query.device)
    grad_prior = None if prior is None else torch.zeros(prior.shape, dtype=dtype, device=query.device)
    positions, width = query.shape[1:]
    images = max(1, BLOCK_BYTES // (4 * positions * width * grad_query.element_size()))
    with torch.autocast(query.device.type, enabled=False):
        for i in range(len(query)):
            for left in range(0, len(gallery), images):
                part = slice(left, left + images)
                for direction in (0, 1):
                    _send_back(
                        grad[i, part, direction].to(dtype),
                        at[i, part, direction].long(),
                        direction,
                        (query[i].to(dtype), gallery[part].to(dtype), None if prior is None else prior.to(dtype)),
                        (grad_query[i], grad_gallery[part], grad_prior),
                    )
    return grad_query, grad_gallery, grad_prior


def _send_back(
    grad: Tensor,
    found: Tensor,
    direction: int,
    inputs: tuple[Tensor, Tensor, Tensor | None],
    grads: tuple[Tensor, Tensor, Tensor | None],
) -> None:
    """One query image [T, d], some gallery images [n, T, d], one direction; `grad`, `found` [n, T]. Adds to `grads`."""
    (query, gallery, prior), (grad_query, grad_gallery, grad_prior) = inputs, grads
    count, positions, width = gallery.shape
    own = torch.arange(positions, device=grad.device).expand(count, positions)
    t, s = (own, found) if direction == 0 else (found, own)
    t, s = t.flatten(), (s + positions * torch.arange(count, device=grad.device)[:, None]).flatten()
    grad, entry = grad.flatten(), t * positions + s % positions
    query_rows, gallery_rows = query[t], gallery.reshape(-1, width)[s]
    if prior is not None:
        grad_prior.view(-1).index_add_(0, entry, grad * (query_rows * gallery_rows).sum(dim=1))
        grad = grad * prior.flatten()[entry]
    grad_query.index_add_(0, t, gallery_rows * grad[:, None])
    grad_gallery.view(-1, width).index_add_(0, s, query_rows * grad[:, None])
