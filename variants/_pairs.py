"""What heads share that pay per pair: pairs are scored in blocks, within the memory of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from variants._base import Head, Repr
from variants._layers import PairNorm
from variants.kernels import exact_linear, give_back_freed_memory

TRAINING_BLOCK_BYTES = 2**29
"""What the pairs of one block may keep for the backward pass, in a head that pays per pair."""

GPU_TRAINING_BLOCK_BYTES = 2**31
"""The same on a GPU, which needs larger products to be busy."""

SCATTERED_BYTES = 128 * 2**20
"""Freed memory that a process was measured to hold within a block, scattered between what is in use."""


class PairwiseHead(Head):
    """A head that pays per pair, block by block; each pair gets L feature vectors, and of each a score, summed.

    Each score has a linear layer and a batch norm over all pairs of a call: behind the linear layer, or with
    `norm_first` in front of it, then one for each channel of the features.
    """

    norm_first: bool
    score: nn.ModuleList
    norm: nn.ModuleList

    def add_scores(self, count: int, width: int, norm_first: bool) -> None:
        """Make the layers that turn `count` feature vectors [width] of a pair into its score."""
        self.norm_first = norm_first
        # Without bias: the batch norm has one, or would cancel it.
        self.score = nn.ModuleList(nn.Linear(width, 1, bias=False) for _ in range(count))
        self.norm = nn.ModuleList(nn.BatchNorm1d(width) if norm_first else PairNorm() for _ in range(count))

    def score_pairs(self, query: Repr, gallery: Repr) -> Tensor:
        """`before_norms` of all pairs, row by row, each pair by itself: [Q*G, ...]."""
        raise NotImplementedError(f"{type(self).__name__} must define score_pairs")

    def before_norms(self, features: Sequence[Tensor]) -> Tensor:
        """What is kept of each pair in front of the batch norms, of L features [P, width]: [P, L] or [P, L*width]."""
        if self.norm_first:
            return torch.cat([*features], dim=1)
        scores = [exact_linear(part, linear.weight, None) for part, linear in zip(features, self.score, strict=True)]
        return torch.cat(scores, dim=1)

    def kept_bytes(self) -> int:
        """What `before_norms` and the batch norms take of one pair."""
        return 8 * sum(linear.in_features for linear in self.score) if self.norm_first else 0

    def match(self, query: Repr, gallery: Repr) -> Tensor:
        training = torch.is_grad_enabled()
        return self._fuse(score_pairs_in_blocks(self.score_pairs, query, gallery, self.pair_bytes(training)))

    def plain_match(self, query: Repr, gallery: Repr) -> Tensor:
        return self._fuse(self.score_pairs(query, gallery).view(len(query), len(gallery), -1))

    def _fuse(self, kept: Tensor) -> Tensor:
        """`before_norms` of all pairs, [Q, G, ...] -> [Q, G]: each score, summed."""
        if not self.norm_first:
            return torch.stack([norm(kept[..., n]) for n, norm in enumerate(self.norm)]).sum(dim=0)
        parts = kept.flatten(0, 1).chunk(len(self.norm), dim=1)
        layers = zip(parts, self.norm, self.score, strict=True)
        scores = [exact_linear(norm(part), linear.weight, None) for part, norm, linear in layers]
        return torch.stack(scores).sum(dim=0).view(kept.shape[:2])

    def shift_of(self, norm: str) -> set[str]:
        """Of the LayerNorm of this name, the last in front of the score: what the batch norm cancels.

        That is its bias, and where each channel has a batch norm of its own its weight too.
        """
        return {f"{norm}.bias", f"{norm}.weight"} if self.norm_first else {f"{norm}.bias"}

    def image_bytes(self) -> int:
        """What `encode` keeps of one image for the backward pass, its representation counted."""
        raise NotImplementedError(f"{type(self).__name__} must define image_bytes")

    def training_bytes(self, batch: int, device_kind: str = "cpu") -> int:
        """Images and weights with their gradients, and twice a block: what it keeps, and gradients passing through;
        besides, what an allocator holds."""
        per_pair = self.pair_bytes(training=True)
        block = min(batch**2, max(1, block_bytes(device_kind) // per_pair)) * per_pair
        weights = sum(parameter.numel() * parameter.element_size() for parameter in self.parameters())
        return 2 * block + batch * self.image_bytes() + weights + SCATTERED_BYTES


def pair_up(query: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
    """All pairs of Q and G images, row by row: [Q, ...], [G, ...] -> two tensors [Q*G, ...]."""
    queries = query.unsqueeze(1).expand(-1, len(gallery), *query.shape[1:])
    galleries = gallery.unsqueeze(0).expand(len(query), -1, *gallery.shape[1:])
    return queries.flatten(0, 1), galleries.flatten(0, 1)


def block_bytes(device_kind: str) -> int:
    """What one block may keep on a device of this kind."""
    return GPU_TRAINING_BLOCK_BYTES if device_kind == "cuda" else TRAINING_BLOCK_BYTES


def score_pairs_in_blocks(
    score: Callable[[Repr, Repr], Tensor], query: Repr, gallery: Repr, bytes_per_pair: int
) -> Tensor:
    """`score` of all pairs, [Q, G, L], with the memory of one block of pairs.

    `score` takes q queries and g gallery images and gives [q*g, L], row by row, each pair by itself. Pairs that do
    not fit `block_bytes` together go block by block; in training each block then keeps nothing and is computed again
    in the backward pass, with the same gradients.
    """
    device = next(tensor for _, tensor in query.items()).device.type
    pairs = max(1, block_bytes(device) // bytes_per_pair)
    if len(query) * len(gallery) <= pairs:
        return score(query, gallery).view(len(query), len(gallery), -1)
    columns = _equal_parts(len(gallery), pairs)
    rows = _equal_parts(len(query), max(1, pairs // len(gallery)))

    def score_block(some: Repr, others: Repr) -> Tensor:
        # What blocks free lies scattered between what outlives them: a CPU's allocator would hold ever more.
        if device == "cpu":
            give_back_freed_memory()
        return score(some, others)

    bands = []
    for top in range(0, len(query), rows):
        some = query[top : top + rows]
        blocks = []
        for left in range(0, len(gallery), columns):
            others = gallery[left : left + columns]
            if torch.is_grad_enabled():
                block = checkpoint(score_block, some, others, use_reentrant=False, preserve_rng_state=False)
            else:
                block = score_block(some, others)
            blocks.append(block.view(len(some), len(others), -1))
        bands.append(torch.cat(blocks, dim=1))
    return torch.cat(bands)


def _equal_parts(count: int, most: int) -> int:
    """The size, at most `most`, of the parts of `count`: all of one size if that can be had within a half of `most`.

    Memory that parts of one size have freed serves the next; with several sizes a CPU's allocator needs far more.
    """
    most = min(count, most)
    return next((size for size in range(most, most // 2, -1) if count % size == 0), most)
