"""Transformer-Cross: decoders read the gallery image with the query image's tokens (paper, Section 4, C.2, C.4)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from variants._base import LocalMatches, Product, Repr
from variants._layers import (
    attention_products,
    check_heads,
    check_layers,
    choose,
    draw_xavier,
    encoder_layers,
    encoder_products,
    feedforward_products,
    position_embedding,
    tokens_of,
)
from variants._pairs import PairwiseHead, pair_up


class TransformerCross(PairwiseHead):
    """Transformer-Cross: N decoder layers from the query's raw tokens, memory = the encoded gallery image.

    `encode_query` sends the query's tokens through the encoder too (paper, C.2). `fusion` "multi_scale" lets
    decoder n read the output of encoder n and sums the scores of all decoders, each with its own linear and batch
    norm (paper, C.4). `norm_first` puts the batch norm in front of the linear. Not symmetric.

    It learns slowly and is not stuck: held-out persons of stand-in data, from a common start, are found with an mAP of
    28 after 160 steps, 38 after 320 and 50 after 1,000, where it stays. `norm_first` quickens it: 35 after 160 steps,
    and in another seed from 30 to 33 (docs/standins.md): too little to be what holds it back, so it is no default.
    """

    numerics = 2
    later_options = ("norm_first",)
    offers_local_matches = True

    shared_fc: ClassVar[bool] = False
    """Whether queries and keys of every cross-attention go through one FC."""

    def __init__(
        self,
        feature_shape: tuple[int, int, int],
        *,
        feedforward: int = 2048,
        layers: int = 3,
        heads: int = 1,
        encode_query: bool = False,
        fusion: str = "none",
        encoder_init: str = "torch",
        norm_first: bool = False,
    ) -> None:
        super().__init__(feature_shape)
        width = feature_shape[0]
        self.heads, self.feedforward = heads, feedforward
        self.encode_query = encode_query
        self.fusion = choose("fusion", fusion, ("none", "multi_scale"))
        self.position = position_embedding(self.tokens, width)
        self.encoder = encoder_layers(check_layers(layers), width, feedforward, heads)
        self.decoder = nn.ModuleList(_DecoderLayer(width, feedforward, heads, self.shared_fc) for _ in range(layers))
        scores = layers if fusion == "multi_scale" else 1
        self.add_scores(scores, width, norm_first)
        draw_xavier(self, encoder_init)

    def encode(self, feature_map: Tensor) -> Repr:
        """Both roles of an image: `tokens` and `queries` as a query, `keys` and `values` [B, N, T, d] as a gallery."""
        tokens = tokens_of(feature_map) + self.position
        memories, memory = [], tokens
        for layer in self.encoder:
            memory = layer(memory)
            memories.append(memory)
        if self.fusion == "none":
            memories = [memory] * len(self.decoder)
        projected = [layer.project_memory(level) for layer, level in zip(self.decoder, memories, strict=True)]
        first = self.decoder[0].attend_self(memory if self.encode_query else tokens)
        return Repr(
            tokens=first,
            queries=self.decoder[0].query(first),
            keys=torch.stack([keys for keys, _ in projected], dim=1),
            values=torch.stack([values for _, values in projected], dim=1),
        )

    def encode_products(self, images: int) -> list[Product]:
        width, tokens, layers = self.feature_shape[0], self.tokens, len(self.decoder)
        # Keys and values of all decoders; of the first one's self-attention all four projections, and its queries.
        projections = Product(images * tokens, width, width, 2 * layers + 4 + 1)
        products = [*encoder_products(self.encoder, images, tokens), projections]
        return products + attention_products(images, tokens, tokens, width, self.heads)

    def match_products(self, queries: int, gallery: int, same: bool = False) -> list[Product]:
        width, tokens, pairs = self.feature_shape[0], self.tokens, queries * gallery
        products = [Product(pairs, width, 1, len(self.score))]
        for n, layer in enumerate(self.decoder):
            # The output's projection; behind the first decoder also queries and a self-attention of its own.
            products += feedforward_products(pairs * tokens, layer.linear1, projections=1 if n == 0 else 1 + 1 + 4)
            products += (1 if n == 0 else 2) * attention_products(pairs, tokens, tokens, width, self.heads)
        return products

    def score_pairs(self, query: Repr, gallery: Repr) -> Tensor:
        outputs = []
        for n, layer in enumerate(self.decoder):
            keys, values = gallery.keys[:, n], gallery.values[:, n]
            if n == 0:
                queries, keys = pair_up(query.queries, keys)
                tokens, values = pair_up(query.tokens, values)
            else:
                tokens = layer.attend_self(tokens)
                queries = layer.query(tokens)
                keys, values = (part.repeat(len(query), 1, 1) for part in (keys, values))
            tokens = layer.attend_memory(tokens, queries, keys, values)
            outputs.append(tokens.mean(dim=1))
        if self.fusion == "none":
            outputs = outputs[-1:]
        return self.before_norms(outputs)

    def local_matches(self, query: Repr, gallery: Repr) -> list[LocalMatches]:
        """The strongest attention of each decoder from every query position, m = T; of several heads their mean.

        A level's score is what the head's last layers make of that decoder's output; with `fusion` "none" they were
        trained for the last decoder alone, whose score is that of `match`. A query position's weight is its share of
        that score, which is a sum over them.
        """
        tokens, levels = query.tokens, []
        own = torch.arange(self.tokens, device=tokens.device).expand(len(query), -1)
        for n, layer in enumerate(self.decoder):
            tokens = tokens if n == 0 else layer.attend_self(tokens)
            queries = query.queries if n == 0 else layer.query(tokens)
            keys, values = gallery.keys[:, n], gallery.values[:, n]
            strongest = layer.attention(queries, keys).max(dim=2)
            tokens = layer.attend_memory(tokens, queries, keys, values)
            last = n if self.fusion == "multi_scale" else 0
            found = (strongest.values, *self._shares(tokens, last))
            levels.append(
                LocalMatches(f"decoder {n + 1}", own, strongest.indices, *(part.detach().float() for part in found))
            )
        return levels

    def _shares(self, tokens: Tensor, last: int) -> tuple[Tensor, Tensor]:
        """What each position of outputs [P, T, d] adds to the score of the last layers, [P, T]; and that score, [P]."""
        norm = self.norm[last] if self.norm_first else self.norm[last].norm
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        linear = self.score[last]
        if self.norm_first:
            shares = F.linear(tokens, linear.weight * scale).squeeze(2) / self.tokens
            return shares, linear(norm(tokens.mean(dim=1))).squeeze(1)
        parts = F.linear(tokens, linear.weight).squeeze(2) / self.tokens
        return parts * scale, self.norm[last](parts.sum(dim=1))

    def pair_bytes(self, training: bool = False) -> int:
        width = self.feature_shape[0]
        if training:
            return 4 * self.tokens * len(self.decoder) * (20 * width + 2 * self.feedforward) + self.kept_bytes()
        return 4 * self.tokens * (10 * width + 2 * self.feedforward + 2 * self.heads * self.tokens) + self.kept_bytes()

    def image_bytes(self) -> int:
        """What encoders and the first self-attention keep, and the representation with its gradient."""
        width, layers = self.feature_shape[0], len(self.encoder)
        kept = layers * (12 * width + 2 * self.feedforward) + 8 * width
        return 4 * self.tokens * (kept + 2 * (2 + 2 * layers) * width)

    def pair_parameters(self) -> set[str]:
        return self._names_under("decoder.", "score.", "norm.")

    def void_parameters(self) -> set[str]:
        """The softmax cancels a bias of the keys alone, the last batch norm the shift by the last LayerNorm's bias."""
        last = self.shift_of(f"decoder.{len(self.decoder) - 1}.norm3")
        keys = set() if self.shared_fc else {f"decoder.{n}.key.bias" for n in range(len(self.decoder))}
        return last | keys


class _DecoderLayer(nn.Module):
    """A vanilla Transformer decoder layer (post-norm, ReLU, no dropout), cut where the memory's share ends.

    The keys and values of the memory depend on the memory alone; `project_memory` computes them once per gallery
    image, so that a pair pays only for what depends on the pair. With the same weights the result is that of
    torch.nn.TransformerDecoderLayer. `shared_fc` uses one FC for queries and keys of the cross-attention
    (paper, C.4).
    """

    def __init__(self, width: int, feedforward: int, heads: int, shared_fc: bool = False) -> None:
        super().__init__()
        check_heads(width, heads)
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

    def attention(self, queries: Tensor, keys: Tensor) -> Tensor:
        """The weights of `attend_memory`, [P, T, T], each query position's adding up to 1; the mean over heads."""
        split = [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (queries, keys)]
        products = split[0] @ split[1].transpose(2, 3) / split[0].shape[-1] ** 0.5
        return products.softmax(dim=3).mean(dim=1)

    def attend_memory(self, tokens: Tensor, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Cross-attention and feed-forward, each with residual and norm, of P pairs: all [P, T, d].

        `queries` is `self.query(tokens)`, which the caller may have computed once per image.
        """
        split = [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (queries, keys, values)]
        found = F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)
        tokens = self.norm2(tokens + self.out(found))
        return self.norm3(tokens + self.linear2(F.relu(self.linear1(tokens))))
