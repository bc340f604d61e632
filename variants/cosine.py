"""The simplest matcher: a template for new heads, a baseline, and an oracle whose answer is known.

It says again, on purpose, what it could inherit from `VectorHead`: all that a head consists of is to be read here.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from variants._base import Head, Product, Repr
from variants._layers import PairNorm


class Cosine(Head):
    """Cosine of the average-pooled feature maps, batch-normalised."""

    exact_representations = True

    def __init__(self, feature_shape: tuple[int, int, int]) -> None:
        super().__init__(feature_shape)
        self.norm = PairNorm()
        self.symmetric = True

    def encode(self, feature_map: Tensor) -> Repr:
        return Repr(feature=F.normalize(feature_map.mean(dim=(2, 3)), dim=1))

    def match(self, query: Repr, gallery: Repr) -> Tensor:
        return self.norm(query.feature @ gallery.feature.T)

    def match_products(self, queries: int, gallery: int, same: bool = False) -> list[Product]:
        return [Product(queries, self.feature_shape[0], gallery)]

    def pair_bytes(self, training: bool = False) -> int:
        return 8

    def pair_parameters(self) -> set[str]:
        return self._names_under("norm.")
