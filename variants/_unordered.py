"""The pairs of a batch of images with itself, each taken once whichever of its images comes first."""

from __future__ import annotations

import torch
from torch import Tensor


class UnorderedPairs:
    """The n = B (B + 1) / 2 pairs (i, j) with i <= j of B images, row by row.

    Taking them from all pairs and giving back to all pairs only reads by index, in the backward passes as well: what
    adds by index would be sorted first on a GPU, where a run is deterministic.
    """

    def __init__(self, images: int, device: torch.device) -> None:
        first, second = torch.triu_indices(images, images, device=device)
        place = torch.arange(images, device=device)
        low, high = torch.minimum(place[:, None], place), torch.maximum(place[:, None], place)
        self._upper = first * images + second
        self._lower = second * images + first
        self._place = (low * (2 * images - 1 - low) // 2 + high).flatten()
        self._first_is_high = (place[:, None] > place).flatten()
        self._equal = first == second
        self.counts = 2 - self._equal.long()
        """[n]: how many of all B x B pairs each one stands for."""

    def of(self, table: Tensor) -> Tensor:
        """What [B, B, ...] holds for each of the pairs: [n, ...]."""
        return _Taken.apply(table.flatten(0, 1), self._upper, self._place, self._first_is_high)

    def to_all(self, values: Tensor) -> Tensor:
        """Values of the pairs [n, ...] for all pairs of images, row by row: [B * B, ...]."""
        return _Spread.apply(values, self._place, self._upper, self._lower, self._equal)


class _Taken(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table: Tensor, upper: Tensor, place: Tensor, first_is_high: Tensor) -> Tensor:
        ctx.save_for_backward(place, first_is_high)
        return table.index_select(0, upper)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        place, first_is_high = ctx.saved_tensors
        return _without(first_is_high, grad.index_select(0, place)), None, None, None


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, place: Tensor, upper: Tensor, lower: Tensor, equal: Tensor) -> Tensor:
        ctx.save_for_backward(upper, lower, equal)
        return values.index_select(0, place)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        upper, lower, equal = ctx.saved_tensors
        turned = _without(equal, grad.index_select(0, lower))
        return grad.index_select(0, upper) + turned, None, None, None, None


def _without(left_out: Tensor, values: Tensor) -> Tensor:
    """Values [m, ...], 0 where `left_out` [m]."""
    return values.masked_fill_(left_out.view(-1, *[1] * (values.dim() - 1)), 0)
