"""The vanilla Transformer: decoders read the image with learnable queries (paper, Section 3 and D.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from variants._base import Product, Repr
from variants._layers import (
    VectorHead,
    attention_products,
    check_layers,
    draw_xavier,
    encoder_layers,
    encoder_products,
    feedforward_products,
    position_embedding,
    run_layers,
    tokens_of,
)


class Transformer(VectorHead):
    """Vanilla Transformer: N encoder and N decoder layers with T learnable queries; cosine, batch-normalised."""

    numerics = 2

    def __init__(
        self,
        feature_shape: tuple[int, int, int],
        *,
        feedforward: int = 2048,
        layers: int = 3,
        heads: int = 1,
        encoder_init: str = "torch",
    ) -> None:
        super().__init__(feature_shape)
        width = feature_shape[0]
        self.position = position_embedding(self.tokens, width)
        self.query_embedding = nn.Parameter(torch.empty(self.tokens, width))
        self.encoder = encoder_layers(check_layers(layers), width, feedforward, heads)
        self.decoder = nn.ModuleList(
            nn.TransformerDecoderLayer(width, heads, feedforward, dropout=0.0, batch_first=True) for _ in range(layers)
        )
        draw_xavier(self, encoder_init)

    def encode(self, feature_map: Tensor) -> Repr:
        memory = run_layers(self.encoder, tokens_of(feature_map) + self.position)
        tokens = self.query_embedding.expand(len(memory), -1, -1)
        for layer in self.decoder:
            tokens = layer(tokens, memory)
        return Repr(feature=F.normalize(tokens.mean(dim=1), dim=1))

    def encode_products(self, images: int) -> list[Product]:
        width, tokens = self.feature_shape[0], self.tokens
        products = encoder_products(self.encoder, images, tokens)
        for layer in self.decoder:
            products += feedforward_products(images * tokens, layer.linear1, projections=8)
            products += 2 * attention_products(images, tokens, tokens, width, layer.self_attn.num_heads)
        return products
