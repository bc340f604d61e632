"""The loss that all heads are trained with (QAConv-GS; PROTOCOL, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def pairwise_matching_loss(scores: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy of all pairs of a batch, and whether each query would be found.

    scores [B, B] logits, ids [B] persons -> loss_per_query [B], the sum over the gallery axis, the diagonal
    included; hit [B] bool: the query's worst match (itself excluded) scores above its best non-match; a query
    without another match counts as a hit.
    """
    same = ids.unsqueeze(0) == ids.unsqueeze(1)
    loss_per_query = F.binary_cross_entropy_with_logits(scores, same.to(scores.dtype), reduction="none").sum(dim=1)
    own = torch.eye(len(ids), dtype=torch.bool, device=ids.device)
    worst_match = scores.detach().masked_fill(~same | own, torch.inf).amin(dim=1)
    best_other = scores.detach().masked_fill(same, -torch.inf).amax(dim=1)
    return loss_per_query, worst_match > best_other


def mean_of_finite(loss_per_query: Tensor) -> Tensor:
    """The mean over the queries whose loss is finite; NaN if there is none. The host does not wait for it."""
    finite = loss_per_query.isfinite()
    return torch.where(finite, loss_per_query, 0).sum() / finite.sum()
