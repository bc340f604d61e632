"""Building blocks that two or more heads share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from variants._base import Head, Product, Repr

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
    _check_heads(width, heads)
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


class DecoderLayer(nn.Module):
    """A vanilla Transformer decoder layer (post-norm, ReLU, no dropout), cut where the memory's share ends.

    The keys and values of the memory depend on the memory alone; `project_memory` computes them once per gallery
    image, so that a pair pays only for what depends on the pair. With the same weights the result is that of
    torch.nn.TransformerDecoderLayer. `shared_fc` uses one FC for queries and keys of the cross-attention
    (paper, C.4).
    """

    def __init__(self, width: int, feedforward: int, heads: int, shared_fc: bool = False) -> None:
        super().__init__()
        _check_heads(width, heads)
        self.heads = heads
        self.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm1 = nn.LayerNorm(width)
        self.key = nn.Linear(width, width)
        self.query = self.key if shared_fc else nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm3 = nn.LayerNorm(width)

    def attend_self(self, tokens: Tensor) -> Tensor:
        """Self-attention, residual and norm: [B, T, d] -> [B, T, d]."""
        return self.norm1(tokens + self.self_attention(tokens, tokens, tokens, need_weights=False)[0])

    def project_memory(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the cross-attention, each [B, T, d]."""
        return self.key(memory), self.value(memory)

    def attend_memory(self, tokens: Tensor, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Cross-attention and feed-forward, each with residual and norm, of P pairs: all [P, T, d].

        `queries` is `self.query(tokens)`, which the caller may have computed once per image.
        """
        split = [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (queries, keys, values)]
        found = F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)
        tokens = self.norm2(tokens + self.out(found))
        return self.norm3(tokens + self.linear2(F.relu(self.linear1(tokens))))


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


def _check_heads(width: int, heads: int) -> None:
    if heads < 1 or width % heads:
        raise ValueError(f"heads must divide the width {width}, not {heads}")
