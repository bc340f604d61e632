"""ViT: a Transformer encoder that turns each image into one vector (paper, Section 3 and C.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from variants._base import Product, Repr
from variants._layers import (
    VectorHead,
    check_layers,
    draw_xavier,
    encoder_layers,
    encoder_products,
    position_embedding,
    run_layers,
    tokens_of,
)


class ViT(VectorHead):
    """Vision Transformer: the class token after N encoder layers; cosine, batch-normalised."""

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
        self.class_token = nn.Parameter(torch.empty(1, width))
        self.position = position_embedding(self.tokens + 1, width)
        self.encoder = encoder_layers(check_layers(layers), width, feedforward, heads)
        draw_xavier(self, encoder_init)

    def encode(self, feature_map: Tensor) -> Repr:
        tokens = tokens_of(feature_map)
        tokens = torch.cat((self.class_token.expand(len(tokens), 1, -1), tokens), dim=1) + self.position
        return Repr(feature=F.normalize(run_layers(self.encoder, tokens)[:, 0], dim=1))

    def encode_products(self, images: int) -> list[Product]:
        return encoder_products(self.encoder, images, self.tokens + 1)
