"""QAConv: query-adaptive convolution, the paper's runner-up (Liao and Shao, ECCV 2020; PROTOCOL, section 2)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from variants._base import Head, LocalMatches, Product, Repr, load_by_published_keys
from variants._layers import matches_of_maxima, tokens_of
from variants.kernels import dense_maxima, exact_linear, maxima, maxima_bytes, maxima_products, normed_linear


class QAConv(Head):
    """QAConv: maxima of the cosines of all positions in both directions, batch norm, FC, batch norm."""

    numerics = 3
    takes_16_bits = True
    offers_local_matches = True

    def __init__(self, feature_shape: tuple[int, int, int]) -> None:
        super().__init__(feature_shape)
        self.bn = nn.BatchNorm1d(1)
        self.fc = nn.Linear(self.tokens, 1)
        nn.init.constant_(self.fc.weight, 1 / self.tokens)
        self.logit_bn = nn.BatchNorm1d(1)
        self.symmetric = True

    def encode(self, feature_map: Tensor) -> Repr:
        return Repr(tokens=tokens_of(F.normalize(feature_map, dim=1)))

    def match(self, query: Repr, gallery: Repr) -> Tensor:
        return self._score(maxima(query.tokens, query.tokens if gallery is query else gallery.tokens))

    def plain_match(self, query: Repr, gallery: Repr) -> Tensor:
        return self._plain_score(dense_maxima(query.tokens, gallery.tokens, None))

    def local_matches(self, query: Repr, gallery: Repr) -> list[LocalMatches]:
        """The maxima of the cosines in both directions, one level; its score is that of `match`."""

        def score(best: Tensor) -> Tensor:
            return self._plain_score(best.unsqueeze(1))[:, 0]

        centre = float(self.bn.running_mean)
        return [matches_of_maxima("convolution", query.tokens, gallery.tokens, None, score, centre)]

    def match_products(self, queries: int, gallery: int, same: bool = False) -> list[Product]:
        rows = queries * (queries + 1) if same else 2 * queries * gallery
        similarities = maxima_products(queries, gallery, self.tokens, self.feature_shape[0], same)
        return [*similarities, Product(rows, self.tokens, 1)]

    def _score(self, best: Tensor) -> Tensor:
        """Maxima [Q, G, 2, T] -> [Q, G]."""
        scores = normed_linear(best, self.bn, self.fc)
        return self.logit_bn(scores.sum(dim=2).view(-1, 1)).view(best.shape[:2])

    def _plain_score(self, best: Tensor) -> Tensor:
        best = self.bn(best.view(-1, 1, self.tokens)).view(best.shape)
        scores = exact_linear(best, self.fc.weight, self.fc.bias)
        return self.logit_bn(scores.sum(dim=2).view(-1, 1)).view(best.shape[:2])

    def pair_bytes(self, training: bool = False) -> int:
        return maxima_bytes(self.tokens)

    def pair_parameters(self) -> set[str]:
        return self._names_under("")

    def void_parameters(self) -> set[str]:
        """The last batch norm cancels a common scale and shift of the maxima, and FC's bias."""
        return {"bn.weight", "bn.bias", "fc.bias"}

    def load_published(self, matcher_state: dict[str, Tensor], encoder_state: dict[str, Tensor] | None = None) -> None:
        """Load a published matcher state (keys `bn.*`, `fc.*`, `logit_bn.*`); there is no encoder state.

        Raises ValueError naming surplus, missing or misshapen keys.
        """
        if encoder_state:
            raise ValueError("QAConv has no encoder, but an encoder state was given")
        load_by_published_keys(self.state_dict(keep_vars=False), matcher_state)

    def published_parameters(self) -> dict[str, nn.Parameter]:
        return dict(self.named_parameters())
