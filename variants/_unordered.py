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
        self._first_is_low = (place[:, None] <= place).flatten()
        self._differ = first != second
        self.counts = 1 + self._differ.long()
        """[n]: how many of all B x B pairs each one stands for."""

    def of(self, table: Tensor) -> Tensor:
        """What [B, B, ...] holds for each of the pairs: [n, ...]."""
        return _Taken.apply(table.flatten(0, 1), self._upper, self._place, self._first_is_low)

    def to_all(self, values: Tensor) -> Tensor:
        """Values of the pairs [n, ...] for all pairs of images, row by row: [B * B, ...]."""
        return _Spread.apply(values, self._place, self._upper, self._lower, self._differ)


class _Taken(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table: Tensor, upper: Tensor, place: Tensor, first_is_low: Tensor) -> Tensor:
        ctx.save_for_backward(place, first_is_low)
        return table.index_select(0, upper)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        place, first_is_low = ctx.saved_tensors
        return _where(first_is_low, grad.index_select(0, place)), None, None, None


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, place: Tensor, upper: Tensor, lower: Tensor, differ: Tensor) -> Tensor:
        ctx.save_for_backward(upper, lower, differ)
        return values.index_select(0, place)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        upper, lower, differ = ctx.saved_tensors
        turned = _where(differ, grad.index_select(0, lower))
        return grad.index_select(0, upper) + turned, None, None, None, None


def _where(chosen: Tensor, values: Tensor) -> Tensor:
    """Values [m, ...] where `chosen` [m], else 0."""
    return torch.where(chosen.view(-1, *[1] * (values.dim() - 1)), values, 0)
