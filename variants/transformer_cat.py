"""Transformer-Cat: one Transformer encoder reads both images at once (paper, Section 4, Fig. E(a) and C.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from variants._base import Product, Repr
from variants._layers import (
    check_layers,
    choose,
    draw_xavier,
    encoder_layers,
    encoder_products,
    position_embedding,
    tokens_of,
)
from variants._pairs import PairwiseHead, pair_up


class TransformerCat(PairwiseHead):
    """Transformer-Cat: N encoder layers over [class; query tokens; gallery tokens] of every pair.

    `fusion` (paper, C.3): "none" scores the last class token; "score" sums a score of each layer's class token,
    each with its own linear and batch norm; "score_nonorm" the same without the last LayerNorm; "feature" scores
    the class tokens of all layers, concatenated. `pooling` "mean" scores the mean of all tokens instead of the class
    token; `norm_first` puts the batch norm in front of the linear.

    It learns slowly and is not stuck: held-out persons of stand-in data, from a common start, are found with an mAP of
    18 after 160 steps and 34 after 320, in runs of their own. Both options quicken it, to 28 and 25 after 160 steps
    (docs/standins.md); that was seen of one seed, so they are no defaults.
    """

    numerics = 2
    later_options = ("norm_first", "pooling")

    def __init__(
        self,
        feature_shape: tuple[int, int, int],
        *,
        feedforward: int = 2048,
        layers: int = 3,
        heads: int = 1,
        fusion: str = "none",
        encoder_init: str = "torch",
        norm_first: bool = False,
        pooling: str = "class",
    ) -> None:
        super().__init__(feature_shape)
        width = feature_shape[0]
        self.fusion = choose("fusion", fusion, ("none", "score", "score_nonorm", "feature"))
        self.pooling = choose("pooling", pooling, ("class", "mean"))
        self.heads, self.feedforward = heads, feedforward
        self.class_token = nn.Parameter(torch.empty(1, width))
        self.position = position_embedding(2 * self.tokens + 1, width)
        self.encoder = encoder_layers(check_layers(layers), width, feedforward, heads)
        if fusion == "score_nonorm":
            self.encoder[-1].norm2 = _NoNorm()
        scores = layers if fusion.startswith("score") else 1
        inputs = layers * width if fusion == "feature" else width
        self.add_scores(scores, inputs, norm_first)
        draw_xavier(self, encoder_init)

    def encode(self, feature_map: Tensor) -> Repr:
        return Repr(tokens=tokens_of(feature_map))

    def match_products(self, queries: int, gallery: int, same: bool = False) -> list[Product]:
        inputs = len(self.score) * self.score[0].in_features
        pairs = queries * gallery
        return [*encoder_products(self.encoder, pairs, 2 * self.tokens + 1), Product(pairs, inputs, 1)]

    def score_pairs(self, query: Repr, gallery: Repr) -> Tensor:
        queries, galleries = pair_up(query.tokens, gallery.tokens)
        tokens = torch.cat((self.class_token.expand(len(queries), 1, -1), queries, galleries), dim=1) + self.position
        features = []
        for layer in self.encoder:
            tokens = layer(tokens)
            features.append(tokens[:, 0] if self.pooling == "class" else tokens.mean(dim=1))
        if self.fusion == "none":
            features = features[-1:]
        elif self.fusion == "feature":
            features = [torch.cat(features, dim=1)]
        return self.before_norms(features)

    def pair_bytes(self, training: bool = False) -> int:
        width, tokens = self.feature_shape[0], 2 * self.tokens + 1
        if training:
            return 4 * tokens * len(self.encoder) * (12 * width + 2 * self.feedforward) + self.kept_bytes()
        return 4 * tokens * (8 * width + 2 * self.feedforward + 2 * self.heads * tokens) + self.kept_bytes()

    def image_bytes(self) -> int:
        """The tokens and their gradient, before and behind the head."""
        return 4 * 4 * self.tokens * self.feature_shape[0]

    def pair_parameters(self) -> set[str]:
        return self._names_under("")

    def void_parameters(self) -> set[str]:
        """The last batch norm cancels what shifts all scores alike: the last bias that the class token has added."""
        last = f"encoder.{len(self.encoder) - 1}"
        return {f"{last}.linear2.bias"} if self.fusion == "score_nonorm" else self.shift_of(f"{last}.norm2")


class _NoNorm(nn.Identity):
    """In place of a LayerNorm. Its `eps`, which equals no other, keeps torch from the fused path that needs one."""

    eps = None
