"""Building blocks that two or more heads share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from variants._base import Head, LocalMatches, Product, Repr
from variants.kernels import aligned_maxima

ENCODER_INIT = ("torch", "xavier")


def draw_xavier(head: nn.Module, encoder_init: str) -> None:
    """Draw every matrix of a head by itself from the Xavier-uniform distribution; vectors keep their defaults.

    With `encoder_init` "torch" the layers of its `encoder` keep the defaults of torch.nn, as in the authors' public
    code; with "xavier" they are drawn like all else. Raises ValueError for another word.
    """
    kept = set() if choose("encoder_init", encoder_init, ENCODER_INIT) == "xavier" else set(head.encoder.parameters())
    for parameter in head.parameters():
        if parameter.dim() > 1 and parameter not in kept:
            nn.init.xavier_uniform_(parameter)


def tokens_of(feature_map: Tensor) -> Tensor:
    """[B, d, h, w] -> [B, T, d], positions in row-major order."""
    return feature_map.flatten(2).transpose(1, 2)


def position_embedding(tokens: int, width: int) -> nn.Parameter:
    """A learnable embedding [tokens, width], added to the tokens of every image."""
    return nn.Parameter(torch.empty(tokens, width))


def encoder_layers(layers: int, width: int, feedforward: int, heads: int) -> nn.ModuleList:
    """`layers` vanilla Transformer encoder layers: post-norm, ReLU, no dropout (PROTOCOL, section 2)."""
    check_heads(width, heads)
    return nn.ModuleList(
        nn.TransformerEncoderLayer(width, heads, feedforward, dropout=0.0, batch_first=True) for _ in range(layers)
    )


def attention_products(images: int, tokens: int, memory: int, width: int, heads: int) -> list[Product]:
    """Weights and weighted values of one attention of `tokens` to `memory` positions, for a number of images."""
    rows = images * heads * tokens
    return [Product(rows, width // heads, memory), Product(rows, memory, width // heads)]


def encoder_products(layers: nn.ModuleList, images: int, tokens: int) -> list[Product]:
    """All encoder layers on images (or pairs) of so many tokens."""
    return [
        product
        for layer in layers
        if isinstance(layer, nn.TransformerEncoderLayer)
        for product in feedforward_products(images * tokens, layer.linear1, projections=4)
        + attention_products(images, tokens, tokens, layer.linear1.in_features, layer.self_attn.num_heads)
    ]


def feedforward_products(rows: int, linear1: nn.Linear, projections: int) -> list[Product]:
    """Both linear layers of a feed-forward network, and so many projections from its width to its width."""
    width, inner = linear1.in_features, linear1.out_features
    return [Product(rows, width, width, projections), Product(rows, width, inner), Product(rows, inner, width)]


def run_layers(layers: nn.ModuleList, tokens: Tensor) -> Tensor:
    """The tokens [B, T, d] after all layers, one after the other."""
    for layer in layers:
        tokens = layer(tokens)
    return tokens


class PairNorm(nn.Module):
    """Batch norm of one channel over all scores of a call, whatever their shape."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1)

    def forward(self, scores: Tensor) -> Tensor:
        return self.norm(scores.reshape(-1, 1)).view(scores.shape)


class VectorHead(Head):
    """A head whose `encode` keeps one L2-normalised vector of an image, `feature` [B, d]; cosine, batch-normalised."""

    exact_representations = True

    def __init__(self, feature_shape: tuple[int, int, int]) -> None:
        super().__init__(feature_shape)
        self.norm = PairNorm()
        self.symmetric = True

    def match(self, query: Repr, gallery: Repr) -> Tensor:
        return self.norm(query.feature @ gallery.feature.T)

    def match_products(self, queries: int, gallery: int, same: bool = False) -> list[Product]:
        return [Product(queries, self.feature_shape[0], gallery)]

    def pair_bytes(self, training: bool = False) -> int:
        return 8

    def pair_parameters(self) -> set[str]:
        return self._names_under("norm.")


def matches_of_maxima(
    level: str, query: Tensor, gallery: Tensor, prior: Tensor | None, score: Callable[[Tensor], Tensor], centre: float
) -> LocalMatches:
    """The maxima of n pairs in both directions as matches: query, gallery [n, T, d] -> m = 2T.

    `score` gives the scores [n] of maxima [n, 2, T]. Where it is no sum of what the single maxima add, their weights
    are its slopes times what they are above `centre`, the similarity that counts for nothing.
    """
    # Slopes are asked of autograd, whatever mode the caller is in.
    with torch.inference_mode(False), torch.enable_grad():
        best, at = aligned_maxima(query.detach().clone(), gallery.detach().clone(), prior)
        best = best.detach().requires_grad_()
        scores = score(best)
        (slope,) = torch.autograd.grad(scores.sum(), best)
    own = torch.arange(best.shape[2], device=at.device).expand(len(at), -1)
    return LocalMatches(
        level,
        query_cell=torch.cat((own, at[:, 1]), dim=1),
        gallery_cell=torch.cat((at[:, 0], own), dim=1),
        similarity=best.detach().flatten(1).float(),
        weight=(slope * (best.detach() - centre)).flatten(1).float(),
        score=scores.detach().float(),
    )


def choose(option: str, value: str, known: tuple[str, ...]) -> str:
    """`value`, or ValueError that lists the known values of the option."""
    if value not in known:
        raise ValueError(f"{option} must be one of {', '.join(known)}, not {value!r}")
    return value


def check_layers(layers: int) -> int:
    """`layers`, or ValueError if it is less than 1."""
    if layers < 1:
        raise ValueError(f"layers must be at least 1, not {layers}")
    return layers


def check_heads(width: int, heads: int) -> None:
    """Raise ValueError unless the width can be shared among so many heads."""
    if heads < 1 or width % heads:
        raise ValueError(f"heads must divide the width {width}, not {heads}")
